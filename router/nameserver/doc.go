// Package nameserver is an authoritative DNS server for the hosts of the sites. It
// is the only user of miekg/dns, which packs and unpacks messages for it; the
// sockets are its own, so that a message is bytes in and bytes out whatever carries
// it.
//
// # Names
//
// A host in one of the configured zones belongs to that zone. Outside of them it is
// a zone of its own (the outermost, where one host lies below another), with a
// synthesised SOA and a name server, ns1.<host>, that has this router's own address.
// A name that is neither in a zone nor below a host is refused.
//
// A site's host *.suffix makes every name below suffix exist, exactly as edges serve
// every such name: also a name below another host, and one that has names below
// itself, both of which a wildcard of RFC 4592 would leave out. A name server's name
// in a zone goes before a site's host. A site's host * has no names that could be
// listed and is not answered: names that only it covers are refused.
//
// # Answers
//
// A and AAAA of a host are steered. Other types of a name that exists, and names that
// exist only because names below them do, have no data; ANY gets an HINFO (RFC 8482).
// Where no edge of either family is known the answer is SERVFAIL, which resolvers
// take to another name server and do not keep. Transfers, and classes other than IN,
// are refused; there is no recursion.
package nameserver
