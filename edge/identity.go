package edge

import (
	"crypto/tls"

	"freshet/edge/exchange"
	"freshet/edge/listener"
	"freshet/internal/authority"
	"freshet/internal/cluster"
	"freshet/internal/hop"
	"freshet/internal/node"
)

// Who is another node of this cluster, whose word is taken: with an identity, who has come
// over a listener for tiers, which lets in nobody without a certificate of the cluster's CA.
// Without one, who shows the proof of the cluster's secret.

// proofOf is the key of that proof. A node with an identity neither shows nor takes it, but
// while others have no identity yet.
func proofOf(f *node.File) hop.Key {
	if f.Known() && !f.Identity.SecretToo {
		return hop.Key{}
	}
	return hop.NewKey(f.Cluster.Secret.Value())
}

// trusts reports whether a request comes from a node of this cluster.
func (e *Edge) trusts(req *exchange.Request) bool {
	return req.Peer != "" || e.proof.Trusts(req.Header)
}

// identify has parents asked by this node's identity, if it has one.
func (e *Edge) identify() {
	id := e.env.Identity
	if id == nil {
		return
	}
	e.client.Secure(func(role, name string) *tls.Config {
		if name == "" {
			return id.ClientConfigRole(role)
		}
		return id.ClientConfig(authority.Name{Role: role, Node: name})
	})
}

// listenTier opens the addresses of tier.
func (e *Edge) listenTier(cfg *listener.Config, self *cluster.Node) (err error) {
	if cfg.Tier, err = e.env.ListenTier(self); err != nil || len(cfg.Tier) == 0 {
		return err
	}
	cfg.TierTLS = e.env.Identity.ServerConfig(string(cluster.Edge), string(cluster.Mid))
	cfg.PeerOf = func(state *tls.ConnectionState) string {
		peer, _ := authority.PeerOf(state)
		return peer.String()
	}
	return nil
}
