package listener

import (
	"context"

	"freshet/edge/exchange"
)

// handler is an exchange.Handler made of a function.
type handler func(req *exchange.Request, to exchange.Responder)

func (h handler) Serve(_ context.Context, req *exchange.Request, to exchange.Responder) { h(req, to) }
