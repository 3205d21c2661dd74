package upstream

// OnlyHTTP1 has a client speak HTTP/1.1 over TLS alone.
func OnlyHTTP1(c *Client) { c.transports.only1 = true }
