package smtp

import "sync"

// blockSize is how much of a message is read or written at a time: a message
// of usual size goes in one system call, and a session holds two blocks at
// most, only while a message passes.
const blockSize = 32 << 10

// blocks are the buffers of ReadData and WriteData, []byte of blockSize.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

const crlf = "\r\n"
