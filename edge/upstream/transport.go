package upstream

import "crypto/tls"

// Secure tells the client how to reach nodes of this cluster whose URL is https: tier is
// TLS towards the node of that role and name. To be called before the first Do.
func (c *Client) Secure(tier func(role, name string) *tls.Config) { c.tierTLS = tier }
