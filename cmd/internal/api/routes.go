package api

import "net/http"

// base is where all routes lie.
const base = "/api/v1/"

const (
	get  = http.MethodGet
	post = http.MethodPost
)

// routes is the table. Everything that can be asked or done stands here.
func (s *Server) routes() []Route {
	return []Route{
		{get, "status", "what the node does and how it is", nil, tells(s.status)},
		{get, "health", "the health checks", nil, tells(s.health)},
		{get, "version", "the version of wemixvisor", nil, tells(s.version)},
		{get, "metrics", "the metrics of /metrics, as JSON", nil, tells(s.metrics)},
		{get, "alerts", "the alerts that fire, and the last resolved ones", nil, tells(s.alerts)},
		{get, "validators", "who seals, the quorum, the turns, the versions and the forks the node knows; 501 where it has no consensus to ask about", nil, tells(s.validators)},
		{get, "config", "every setting, its value and where it came from; secrets are masked", nil, tells(s.config)},
		{get, "logs", "the node's last output", []Param{
			{"n", "integer", "how many lines; without it all that memory holds"},
			{"follow", "boolean", "and whatever follows, until the client leaves"},
		}, sends("text/plain; charset=utf-8", s.logs)},
		{get, "profile/{kind}", "a profile of wemixvisor itself: cpu, heap, goroutine or trace", []Param{
			{"seconds", "integer", "how long cpu and trace look: 10 and 1 without it"},
		}, sends("application/octet-stream", s.profile)},
		{get, "ws", "events over WebSocket, as they happen", []Param{
			{"topics", "string", "which, separated by commas: " + topicList() + "; without it all"},
		}, upgrades(s.events)},
		{get, "openapi.json", "this document", nil, tells(s.document)},

		{post, "node/start", "starts the node", nil, does(http.StatusOK, s.start)},
		{post, "node/stop", "stops the node, and answers when it is gone; a validator's stop waits for the network, unless force", nil, does(http.StatusOK, s.stop)},
		{post, "node/restart", "restarts the node; a validator's stop waits for the network, unless force", nil, does(http.StatusOK, s.restart)},
		{post, "alerts/test", "sends a test alert, and says what became of it on each channel", nil, does(http.StatusOK, s.testAlert)},
		{post, "config/reload", "reads the settings again, and says what changed and what needs a restart", nil, does(http.StatusOK, s.reload)},
	}
}
