package distributor

import (
	"bytes"
	"strings"
	"testing"

	"freshet/distributor/client"
	"freshet/internal/cluster"
	"freshet/internal/document"
)

// TestSecrets: what is set stands encrypted where edges look for it, is listed without its
// value, and is gone after it was removed.
func TestSecrets(t *testing.T) {
	w := newWorld(t)
	d := w.start("d1")
	c := d.client
	value := []byte("AKIA\x00secret of S3")
	for _, name := range []string{"shop-s3", "cert"} {
		if err := c.SetSecret(t.Context(), name, value); err != nil {
			t.Fatal(err)
		}
	}
	secrets, err := cluster.NewSecrets(w.cluster, []byte(clusterSecret))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := secrets.Get(t.Context(), "site/shop-s3"); err != nil || !bytes.Equal(got.Value, value) {
		t.Errorf("stored %q, %v", got.Value, err)
	}
	pair, err := w.cluster.Get(t.Context(), "secrets/site/shop-s3")
	if err != nil || bytes.Contains(pair.Value, value) {
		t.Errorf("stands as %q, %v", pair.Value, err)
	}
	if _, err := w.cluster.Put(t.Context(), "secrets/site/broken", []byte("x"), cluster.Absent); err != nil {
		t.Fatal(err)
	}
	list, err := c.Secrets(t.Context())
	if err != nil || len(list) != 3 || list[0].Name != "broken" || list[0].Problem == "" || list[1] != (client.Secret{Name: "cert"}) || list[2].Name != "shop-s3" {
		t.Errorf("listed %+v, %v", list, err)
	}
	if _, body := d.raw(t, "GET", "/v1/secrets", token, nil); strings.Contains(body, "AKIA") || strings.Contains(body, "QUtJQ") {
		t.Errorf("the list has values: %s", body)
	}
	if resp, body := d.raw(t, "GET", "/v1/secrets/cert", token, nil); resp.StatusCode != 405 {
		t.Errorf("a secret can be read: %d %s", resp.StatusCode, body)
	}
	if err := c.DeleteSecret(t.Context(), "cert"); err != nil {
		t.Error(err)
	}
	wantError(t, c.DeleteSecret(t.Context(), "cert"), 404, "there is no secret cert")
	if list, err := c.Secrets(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("listed %+v, %v", list, err)
	}
	for _, name := range []string{"UPPER", "a.b", "tickets/x", strings.Repeat("a", 64)} {
		wantError(t, c.SetSecret(t.Context(), name, value), 422, "")
	}
	wantError(t, c.SetSecret(t.Context(), "empty", nil), 400, "body is required")
	wantError(t, c.SetSecret(t.Context(), "large", make([]byte, client.MaxSecret+1)), 422, "65537")
}

// TestSecretsNeedAKey: a cluster without a secret of its own keeps none.
func TestSecretsNeedAKey(t *testing.T) {
	d := newWorld(t).start("d1")
	d.env.File.Cluster.Secret = document.Secret{}
	wantError(t, d.client.SetSecret(t.Context(), "a", []byte("x")), 422, "cluster.secret")
}
