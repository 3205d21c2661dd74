package listener

import (
	"net/http/httptest"
	"testing"
	"time"

	"freshet/edge/exchange"
	"freshet/edge/listener/listenertest"
)

func TestTheFullLaneConforms(t *testing.T) {
	listenertest.Run(t, func(t *testing.T, h exchange.Handler, secure bool) string {
		s := httptest.NewUnstartedServer(&Full{Handler: h, Now: time.Now})
		if t.Cleanup(s.Close); secure {
			s.StartTLS()
		} else {
			s.Start()
		}
		return s.Listener.Addr().String()
	})
}
