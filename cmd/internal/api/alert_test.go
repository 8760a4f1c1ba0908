package api

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wemix/wemixvisor/probe/alert"
)

func TestAlertsAndMetricsAreRead(t *testing.T) {
	c, _ := serve(t, filepath.Join(t.TempDir(), "s.sock"), "exec sleep 60")
	var alerts []alert.Alert
	if err := c.Get(t.Context(), "alerts", &alerts); err != nil || len(alerts) != 1 || alerts[0].Name != "disk_low" || !alerts[0].Firing() {
		t.Errorf("want the alert, have %+v %v", alerts, err)
	}
	var metrics []string
	if err := c.Get(t.Context(), "metrics", &metrics); err != nil || len(metrics) != 1 {
		t.Errorf("want the metric, have %v %v", metrics, err)
	}
}

// TestOneTestAlertAtATime has a webhook hold the first until the second was
// refused.
func TestOneTestAlertAtATime(t *testing.T) {
	c, _ := serve(t, filepath.Join(t.TempDir(), "s.sock"), "exec sleep 60")
	arrived, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	ask := AlertTest{URL: "generic://" + strings.TrimPrefix(srv.URL, "http://") + "/x?disabletls=yes"}
	done := make(chan error, 1)
	var trials []alert.Trial
	go func() { done <- c.Post(t.Context(), "alerts/test", ask, &trials) }() // joined below
	<-arrived
	if err := c.Post(t.Context(), "alerts/test", ask, &[]alert.Trial{}); err == nil || err.Error() != "another test alert is on its way" {
		t.Errorf("want the second refused, have %v", err)
	}
	close(release)
	if err := <-done; err != nil || len(trials) != 1 || !trials[0].OK {
		t.Errorf("want the first sent, have %+v %v", trials, err)
	}
}
