package supervisor

import (
	"time"

	"github.com/wemix/wemixvisor/reaper"
)

// State is what the supervisor does with the node. The words are supervisord's.
type State string

// Running means that exec succeeded; whether the node answers is another matter.
// Failed is final: the restart budget is spent and the supervisor is ending.
const (
	Stopped  State = "stopped"
	Starting State = "starting"
	Running  State = "running"
	Stopping State = "stopping"
	Backoff  State = "backoff"
	Failed   State = "failed"
)

// States lists all of them.
var States = []State{Stopped, Starting, Running, Stopping, Backoff, Failed}

// Status is what is known of the node at one moment. It is a value: nobody
// changes it after it was published.
type Status struct {
	State    State
	Since    time.Time   // when the state was entered
	Reason   string      // why it is not running, or why it was restarted last
	Pid      int         // 0 when it is down
	Binary   string      // what runs or ran last, links resolved
	Args     []string    // its arguments
	Started  time.Time   // when the process was started; zero when it is down
	Restarts int         // restarts that nobody asked for, in this supervisor's life
	Held     bool        // down on purpose: nobody will start it by itself
	Stuck    bool        // held because it could not be started: against everybody's wish
	Spent    []time.Time // the restarts that count against the budget, oldest first
	Last     *Ended      // how the last process ended
	Change   *Progress   // nil when none is in progress
}

// Progress is how far a Change has come.
type Progress struct {
	Kind, Name string
	Stage      string // stopping, applying, starting, confirming, reverting, or what the step itself says
	Since      time.Time
}

// Ended is how one process of the node ended.
type Ended struct {
	Exit   reaper.Exit
	At     time.Time
	Uptime time.Duration
	Asked  bool   // we asked it to stop
	Killed bool   // it, or one of its daemons, needed SIGKILL
	OOM    bool   // the kernel killed it for memory
	Words  string // the last line it wrote
}
