package hop

import "freshet/internal/header"

// StaleField, in a request of a node of the cluster, asks for what is stored alone:
//
//	request:   Freshet-Stale: only
const StaleField = "Freshet-Stale"

// staleOnly is the value of StaleField.
const staleOnly = "only"

// AskStale makes of a request one for what is stored alone, stale or not, as far as it may
// be used when no parent answers: the child knows of nobody else who could be asked.
func AskStale(h *header.Block) error { return h.Set(StaleField, staleOnly) }

// StaleAsked reports whether a trusted request is for what is stored alone; see AskStale.
func StaleAsked(h *header.Block) bool { return h.Get(StaleField) == staleOnly }
