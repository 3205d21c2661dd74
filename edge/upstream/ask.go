package upstream

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoParent: nobody is known who could be asked.
var ErrNoParent = errors.New("no parent is known")

// Plan is one request and who may answer it.
type Plan struct {
	Site    string   // whose limits and budget it counts to
	Parents []Parent // in the order in which to ask them
	// Request makes what a parent is asked, just before it is. It is called again for each
	// try, perhaps for two at once.
	Request func(Parent) (Request, error)
	// Judge, if not nil, refuses answers: then the next parent is asked.
	Judge func(*Reply) error
	// Asked, if not nil, is told of each try, and how it went.
	Asked func(Parent, error)
}

// Ask asks the parents in order until one gives an answer that Judge takes. An answer of a
// tier that it could not reach anybody (502, 503, 504) counts only if no other parent does
// better. A request with a body is sent once.
func (c *Client) Ask(ctx context.Context, plan Plan) (*Reply, error) {
	failed := ErrNoParent
	for i, parent := range plan.Parents {
		req, err := plan.Request(parent)
		if err != nil {
			return nil, err
		}
		reply, err := c.Do(ctx, parent, req)
		if err == nil && plan.Judge != nil {
			if err = plan.Judge(reply); err != nil {
				reply.Body.Close()
			}
		}
		if plan.Asked != nil {
			plan.Asked(parent, err)
		}
		if err == nil && parent.OfCluster() && reply.Status >= 502 && reply.Status <= 504 && i+1 < len(plan.Parents) {
			err = fmt.Errorf("%s answers %d: %w", parent, reply.Status, ErrUnreachable)
			reply.Body.Close()
		}
		if err == nil {
			return reply, nil
		}
		failed = err
		if ctx.Err() != nil || req.Body != nil {
			break
		}
	}
	return nil, failed
}
