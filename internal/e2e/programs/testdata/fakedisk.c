/*
 * A SCSI disk for smartd on a machine that has none: preloaded, it answers
 * SG_IO on any file as a healthy disk would (SPC-4), and nothing else.
 */
#include <dlfcn.h>
#include <scsi/sg.h>
#include <stdarg.h>
#include <string.h>

#define INQUIRY 0x12
#define MODE_SENSE_6 0x1a
#define MODE_SENSE_10 0x5a
#define TEST_UNIT_READY 0x00
#define EXCEPTIONS 0x1c /* the mode page "informational exceptions control" */
#define EXCEPTIONS_PAGE EXCEPTIONS, 10, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1

static const unsigned char inquiry[] = "\0\0\5\2\37\0\0\0POST    OFFICE DISK     1.00";
static const unsigned char mode_sense_6[] = {15, 0, 0, 0, EXCEPTIONS_PAGE};
static const unsigned char mode_sense_10[] = {0, 18, 0, 0, 0, 0, 0, 0, EXCEPTIONS_PAGE};
static const unsigned char no_such_field[18] = {0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24};

static int answer(sg_io_hdr_t *io, const unsigned char *data, unsigned len)
{
	if (len > io->dxfer_len)
		len = io->dxfer_len;
	memcpy(io->dxferp, data, len);
	io->resid = io->dxfer_len - len;
	return 0;
}

static int refuse(sg_io_hdr_t *io)
{
	io->status = 2; /* CHECK CONDITION */
	io->driver_status = 8;
	io->sb_len_wr = sizeof no_such_field;
	memcpy(io->sbp, no_such_field, sizeof no_such_field);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int, unsigned long, void *) = dlsym(RTLD_NEXT, "ioctl");
	sg_io_hdr_t *io;
	va_list ap;

	va_start(ap, request);
	io = va_arg(ap, void *);
	va_end(ap);
	if (request != SG_IO)
		return next(fd, request, io);
	io->status = io->host_status = io->driver_status = io->sb_len_wr = io->resid = 0;
	switch (io->cmdp[0]) {
	case TEST_UNIT_READY:
		return 0;
	case INQUIRY:
		return io->cmdp[1] & 1 ? refuse(io) : answer(io, inquiry, sizeof inquiry - 1);
	case MODE_SENSE_6:
		if ((io->cmdp[2] & 0x3f) == EXCEPTIONS)
			return answer(io, mode_sense_6, sizeof mode_sense_6);
		break;
	case MODE_SENSE_10:
		if ((io->cmdp[2] & 0x3f) == EXCEPTIONS)
			return answer(io, mode_sense_10, sizeof mode_sense_10);
		break;
	}
	return refuse(io);
}
