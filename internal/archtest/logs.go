package archtest

import (
	"go/ast"
	"regexp"
	"strings"
	"unicode"
)

// messageAt is where the message stands among the arguments of slog's methods.
var messageAt = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0,
	"DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1,
	"Log": 2, "LogAttrs": 2,
}

// logName is how a *slog.Logger is called in this house: log, e.log, cfg.Log, logger.
var logName = regexp.MustCompile(`(?i)^(log|logger|slog)$`)

// logMessages wants constant messages in lower case, so that one can search for
// them and machines can group them; what varies goes into attributes.
func logMessages(t *tree) []violation {
	var found []violation
	for _, p := range t.packages {
		for _, f := range p.files {
			if f.test || p.support() {
				continue
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || !logName.MatchString(lastName(method.X)) {
					return true
				}
				at, ok := messageAt[method.Sel.Name]
				if !ok || len(call.Args) <= at {
					return true
				}
				if id, ok := method.X.(*ast.Ident); ok && id.Name == f.local("log/slog") {
					found = append(found, t.at(call, "log through a logger that was handed in, not through slog's own"))
				}
				message, ok := constant(call.Args[at])
				switch {
				case !ok:
					found = append(found, t.at(call, "log message should be a constant; put what varies into attributes"))
				case !plainMessage(message):
					found = append(found, t.at(call, "log message %q should begin in lower case and end without a full stop", message))
				}
				return true
			})
		}
	}
	return found
}

// plainMessage tells whether a message is one lower-case line. An abbreviation may
// open it.
func plainMessage(m string) bool {
	r := []rune(m)
	if len(r) == 0 || strings.Contains(m, "\n") || strings.HasSuffix(m, ".") || strings.HasSuffix(m, "!") {
		return false
	}
	return !unicode.IsUpper(r[0]) || len(r) > 1 && unicode.IsUpper(r[1])
}

// lastName is the last identifier of an expression: Log of cfg.Log.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr: // log.With(…)
		if s, ok := e.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "With" || s.Sel.Name == "WithGroup") {
			return lastName(s.X)
		}
	}
	return ""
}
