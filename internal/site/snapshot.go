package site

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Snapshot is all site documents at one moment. It is immutable, and may be used
// from any goroutine.
type Snapshot struct {
	version uint64
	sites   []*Document
	byName  map[string]*Document
	exact   map[string]*Document
	below   map[string]*Document // by the suffix, without "*."
	other   *Document            // of "*"; may be nil
}

// NewSnapshot puts documents together, sorted by name. It keeps the documents. Of
// two with one name the later counts, and of two sites that claim one host the first
// by name has it (see Conflicts).
func NewSnapshot(version uint64, docs []*Document) *Snapshot {
	s := &Snapshot{
		version: version,
		byName:  make(map[string]*Document, len(docs)),
		exact:   make(map[string]*Document, len(docs)),
		below:   make(map[string]*Document),
	}
	for _, d := range docs {
		s.byName[d.Site] = d
	}
	s.sites = make([]*Document, 0, len(s.byName))
	for _, d := range s.byName {
		s.sites = append(s.sites, d)
	}
	slices.SortFunc(s.sites, byName)
	for _, d := range s.sites {
		for _, host := range d.Hosts {
			s.claim(host, d)
		}
	}
	return s
}

func byName(a, b *Document) int { return cmp.Compare(a.Site, b.Site) }

func (s *Snapshot) claim(host string, d *Document) {
	table, key := s.exact, host
	if host == "*" {
		if s.other == nil {
			s.other = d
		}
		return
	}
	if suffix, ok := strings.CutPrefix(host, "*."); ok {
		table, key = s.below, suffix
	}
	if table[key] == nil {
		table[key] = d
	}
}

// Version is that of the stored documents, as the cluster counts; only equality
// means anything.
func (s *Snapshot) Version() uint64 { return s.version }

// Sites lists the documents by name. The caller must not change the list.
func (s *Snapshot) Sites() []*Document { return s.sites }

// ByName finds the site of that name; nil if there is none.
func (s *Snapshot) ByName(name string) *Document { return s.byName[name] }

// ByHost finds the site that serves host, which is in lower case and without a port:
// by the name itself, else by the longest *.suffix, else by *. It is nil if there is
// none. It allocates nothing.
func (s *Snapshot) ByHost(host string) *Document {
	if d := s.exact[host]; d != nil {
		return d
	}
	if len(s.below) > 0 {
		for rest := host; ; {
			dot := strings.IndexByte(rest, '.')
			if dot < 0 {
				break
			}
			rest = rest[dot+1:]
			if d := s.below[rest]; d != nil {
				return d
			}
		}
	}
	return s.other
}

// Conflicts is nil, or names every host that two sites claim and every name that two
// documents have.
func Conflicts(docs []*Document) error {
	sorted := slices.SortedStableFunc(slices.Values(docs), byName)
	owner := make(map[string]string)
	var errs []error
	for i, d := range sorted {
		if i > 0 && sorted[i-1].Site == d.Site {
			errs = append(errs, fmt.Errorf("two documents are of site %s", d.Site))
			continue
		}
		for _, host := range d.Hosts {
			if other, ok := owner[host]; ok {
				errs = append(errs, fmt.Errorf("host %s of site %s belongs to site %s already", host, d.Site, other))
				continue
			}
			owner[host] = d.Site
		}
	}
	return errors.Join(errs...)
}
