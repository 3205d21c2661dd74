vcl 4.1;

# Varnish's own VCL decides; a cookie would make it pass.
backend origin {
	.host = "{{.OriginHost}}";
	.port = "{{.OriginPort}}";
	.max_connections = 500;
}

sub vcl_recv {
	unset req.http.Cookie;
}

sub vcl_backend_response {
	set beresp.grace = 1h;
	# Pieces are served while they come, so nobody waits for the last byte.
	set beresp.do_stream = true;
}
