package main

import (
	"crypto/tls"
	"fmt"

	"freshet/internal/authority"
	"freshet/internal/bus/jetstream"
	"freshet/internal/cluster"
	"freshet/internal/node"
)

// busPeer is who is at the other end of a connection to the bus, and may do there what its
// role has to: distributors alone command.
func busPeer(state *tls.ConnectionState) jetstream.Peer {
	name, ok := authority.PeerOf(state)
	peer := jetstream.Peer{Name: name.String(), Rights: jetstream.MayRead}
	switch {
	case !ok:
		peer.Rights = jetstream.NoRights
	case name.Role == string(cluster.Distributor):
		peer.Rights = jetstream.MayAppend
	}
	return peer
}

// openIdentity opens what the node file says of the node's certificate, which must be for
// this node; nil for none.
func openIdentity(env node.Env) (*authority.Identity, error) {
	f := env.File
	if !f.Known() {
		return nil, nil
	}
	id, err := authority.Open(authority.Files{CA: f.Identity.CA, Cert: f.Identity.Cert, Key: f.Identity.Key}, nil, env.Log)
	if err != nil {
		return nil, fail(exitInvalid, "%w", err)
	}
	if want := (authority.Name{Role: string(f.Role), Node: f.Name}); id.Name() != want {
		return nil, fail(exitInvalid, "identity: %s is the certificate of %s, this node is %s: run 'freshet ca issue --role %s --name %s'",
			f.Identity.Cert, id.Name(), want, want.Role, want.Node)
	}
	env.Health.Warn("identity", id.Check)
	if err := id.Register(env.Metrics); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return id, nil
}
