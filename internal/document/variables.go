package document

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// variablePattern matches a scalar with a variable in it.
const variablePattern = `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`

// variableForm is what may stand between ${ and }.
var variableForm = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$`)

// expand replaces ${NAME} and ${NAME:-default} in text. The default is taken when the
// variable is not set or empty. $${ stands for ${.
func expand(text string, env func(string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String(), nil
		}
		if rest, escaped := strings.CutSuffix(before, "$"); escaped {
			b.WriteString(rest + "${")
			text = after
			continue
		}
		b.WriteString(before)
		inner, rest, closed := strings.Cut(after, "}")
		m := variableForm.FindStringSubmatch(inner)
		if !closed || m == nil {
			// What stands there is not repeated: it may be part of a secret.
			return "", errors.New("what follows ${ is no variable: write ${NAME} or ${NAME:-default}, and $${ for ${ itself")
		}
		value, set := env(m[1])
		if value == "" && m[2] != "" {
			value, set = m[3], true
		}
		if !set {
			return "", fmt.Errorf("the environment variable %s is not set", m[1])
		}
		b.WriteString(value)
		text = rest
	}
}
