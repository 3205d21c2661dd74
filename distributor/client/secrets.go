package client

import (
	"context"
	"net/http"
	"net/url"
)

// Secret is a secret that site documents can name. Its value never comes back.
type Secret struct {
	Name    string `json:"name" doc:"What site documents call it."`
	Problem string `json:"problem,omitempty" doc:"Why it cannot be opened."`
}

// Secrets is a list of them, by name.
type Secrets struct {
	Secrets []Secret `json:"secrets" nullable:"false"`
}

// MaxSecret is how many bytes a secret may have.
const MaxSecret = 64 << 10

// Secrets lists the secrets that site documents can name.
func (c *Client) Secrets(ctx context.Context) ([]Secret, error) {
	var out Secrets
	err := c.get(ctx, "/v1/secrets", &out)
	return out.Secrets, err
}

// SetSecret stores a secret, in place of what was there.
func (c *Client) SetSecret(ctx context.Context, name string, value []byte) error {
	return c.do(ctx, call{http.MethodPut, secretPath(name), "application/octet-stream", value, AnyVersion}, nil)
}

// DeleteSecret removes a secret. An *Error with status 404 says that there is none.
func (c *Client) DeleteSecret(ctx context.Context, name string) error {
	return c.do(ctx, call{http.MethodDelete, secretPath(name), "", nil, AnyVersion}, nil)
}

func secretPath(name string) string { return "/v1/secrets/" + url.PathEscape(name) }
