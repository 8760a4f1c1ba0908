package api

import (
	"net/http"
	"slices"
)

// base is where all routes lie.
const base = "/api/v1/"

const (
	get  = http.MethodGet
	post = http.MethodPost
	del  = http.MethodDelete
)

// routes is the table. Everything that can be asked or done stands here.
func (s *Server) routes() []Route {
	return slices.Concat([]Route{
		{get, "status", "what the node does and how it is", nil, tells(s.status)},
		{get, "health", "the health checks", nil, tells(s.health)},
		{get, "version", "the version of wemixvisor", nil, tells(s.version)},
		{get, "metrics", "the metrics of /metrics, as JSON", nil, tells(s.metrics)},
		{get, "alerts", "the alerts that fire, and the last resolved ones", nil, tells(s.alerts)},
		{get, "governance", "what the follower of a network's votes sees", nil, tells(s.governance)},
		{get, "governance/proposals", "the votes that were seen, the newest first", nil, tells(s.proposals)},
		{get, "governance/proposals/{id}", "one of them", nil, tells(s.proposal)},
		{get, "validators", "who seals, the quorum, the turns, the versions and the forks the node knows; 501 where it has no consensus to ask about", nil, tells(s.validators)},
		{get, "config", "every setting, its value and where it came from; secrets are masked", nil, tells(s.config)},
		{get, "upgrades", "every upgrade: pending ones first, then what became of the others", nil, tells(s.listUpgrades)},
		{get, "upgrades/{name}", "one upgrade, with every stage it was in", nil, tells(s.oneUpgrade)},
		{get, "plans", "the batch plans", nil, tells(s.listPlans)},
		{get, "plans/{name}", "one batch plan", nil, tells(s.onePlan)},
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
		{post, "upgrades", "schedules an upgrade; answers when it is on disk, with wait when it is prepared or is not", nil, does(http.StatusCreated, s.schedule)},
		{post, "upgrades/{name}/check", "whether an upgrade could be applied", nil, does(http.StatusOK, s.checkUpgrade)},
		{post, "upgrades/{name}/retry", "takes up an upgrade again that was rolled back, failed or is held", nil, does(http.StatusOK, s.retryUpgrade)},
		{post, "upgrades/{name}/confirm", "takes an upgrade's word for it: it is done", nil, does(http.StatusOK, s.confirmUpgrade)},
		{del, "upgrades/{name}", "cancels a pending upgrade", nil, does(http.StatusOK, s.cancelUpgrade)},
		{post, "rollback", "goes back to the previous binary, with data also to its snapshot; answers when the node runs again", nil, does(http.StatusOK, s.rollback)},
		{post, "plans", "files a batch plan, in the place of one of its name", nil, does(http.StatusCreated, s.addPlan)},
		{del, "plans/{name}", "removes a batch plan; what of it is pending is cancelled", nil, does(http.StatusOK, s.removePlan)},
		{post, "alerts/test", "sends a test alert, and says what became of it on each channel", nil, does(http.StatusOK, s.testAlert)},
		{post, "config/reload", "reads the settings again, and says what changed and what needs a restart", nil, does(http.StatusOK, s.reload)},
	}, s.backupRoutes())
}
