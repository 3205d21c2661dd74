package demo

import (
	"fmt"
	"strings"
)

// Site is the site document, as an operator would write it, for the hosts given.
func Site(hosts ...string) []byte {
	quoted := make([]string, len(hosts))
	for i, h := range hosts {
		quoted[i] = fmt.Sprintf("%q", h)
	}
	return []byte(fmt.Sprintf(`# The site that freshet dev serves. Its content is pushed to the cluster's own origin.
site: %s
hosts: [%s]
cache:
  default_lifetime: 1m
  stale_while_revalidate: 10m
  stale_if_error: 1d
`, Name, strings.Join(quoted, ", ")))
}
