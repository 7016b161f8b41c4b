package pools

// Shipped are domains whose SPF records list the addresses of providers that send from many.
// A sender's domain is asked about one of them if it is in it, or if its own record names it.
func Shipped() []string { return shipped[:] }

var shipped = [...]string{
	// Mailboxes.
	"_spf.google.com", "gmail.com", "googlemail.com", "google.com",
	"spf.protection.outlook.com", "outlook.com", "hotmail.com", "live.com", "msn.com",
	"_spf.mail.yahoo.com", "yahoo.com", "aol.com",
	"icloud.com", "_spf.mx.cloudflare.net", "_spf.protonmail.ch", "spf.messagingengine.com", "_spf.yandex.net", "_spf.mail.ru",
	"zoho.com", "zohomail.com", "one.zoho.com", "gmx.net", "web.de", "_spf.kundenserver.de", "_spf-eu.ionos.com", "_spf.perfora.net",
	"t-online.de", "freenet.de", "posteo.de", "mailbox.org", "orange.fr", "free.fr", "laposte.net", "libero.it", "seznam.cz", "wp.pl",
	"mx.ovh.com", "_custspf.one.com", "spf.mail.hostpoint.ch", "_mailcust.gandi.net", "comcast.net", "naver.com", "qq.com", "163.com",
	// What companies send through.
	"amazonses.com", "sendgrid.net", "mailgun.org", "spf.mtasv.net", "sparkpostmail.com", "_spf.sparkpostmail.com", "spf.mandrillapp.com",
	"servers.mcsv.net", "spf.mailjet.com", "spf.sendinblue.com", "spf.brevo.com", "_spf.createsend.com", "spf.constantcontact.com",
	"_spf.salesforce.com", "exacttarget.com", "cust-spf.exacttarget.com", "hubspotemail.net", "mail.zendesk.com", "spf.mailgun.org", "mktomail.com",
	"_netblocks.mimecast.com", "spf.messagelabs.com", "spf.hornetsecurity.com", "spf.antispameurope.com", "spf.emailsignatures365.com",
	// Who writes to many.
	"amazon.com", "facebookmail.com", "linkedin.com", "github.com", "twitter.com", "ebay.com", "paypal.com", "booking.com", "atlassian.net",
}
