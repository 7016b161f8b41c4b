# A filter on Sendmail::PMilter, which speaks version 2, for debian_test.go: the client's
# name says what it answers where, "ANSWER.at.STEP". Its argument is its socket.
use strict;
use warnings;
use Sendmail::PMilter qw(:all);

my %answers = (
	continue => SMFIS_CONTINUE,
	accept   => SMFIS_ACCEPT,
	reject   => SMFIS_REJECT,
	tempfail => SMFIS_TEMPFAIL,
	reply    => SMFIS_TEMPFAIL,
	discard  => SMFIS_DISCARD,
	edits    => SMFIS_ACCEPT,
);

sub told {
	my ($ctx, $step) = @_;
	my ($answer, $at) = split /\.at\./, $ctx->getpriv;
	return SMFIS_CONTINUE if $step ne $at;
	$ctx->setreply(471, '4.7.8', 'a 100% %s') if $answer eq 'reply';
	return $answers{$answer};
}

sub eom {
	my $ctx = shift;
	if ($ctx->getpriv =~ /^edits/) {
		$ctx->addheader('X-Add', "one\n two " . $ctx->getsymval('i'));
		$ctx->chgheader('Subject', 2, 'four');
		$ctx->chgheader('Subject', 1, '');
		$ctx->progress;
		$ctx->addrcpt('<c@us.example>');
		$ctx->delrcpt('<b@us.example>');
		$ctx->replacebody("a line of a body\r\n" x 20000);
		$ctx->quarantine('why');
	}
	return told($ctx, 'end-of-message');
}

my $milter = Sendmail::PMilter->new;
$milter->setconn("local:$ARGV[0]");
$milter->register('postoffice-test', {
	connect => sub { my ($ctx, $name) = @_; $ctx->setpriv($name); told($ctx, 'connect') },
	helo    => sub { told($_[0], 'helo') },
	envfrom => sub { told($_[0], 'mail') },
	envrcpt => sub { told($_[0], 'rcpt') },
	header  => sub { told($_[0], 'header') },
	eoh     => sub { told($_[0], 'end-of-header') },
	body    => sub { told($_[0], 'body') },
	eom     => \&eom,
}, SMFI_CURR_ACTS | SMFIF_QUARANTINE);
$milter->set_dispatcher(Sendmail::PMilter::sequential_dispatcher);
$milter->main;
