package upgrade

import (
	"context"
	"time"

	"github.com/go-kit/log"

	"github.com/wemix/wemixvisor/backup"
	supervisor "github.com/wemix/wemixvisor/init"
	"github.com/wemix/wemixvisor/reaper"
)

// What a new binary in the image means.
const (
	ImageAdopt  = "adopt"  // an upgrade due now
	ImageSeed   = "seed"   // only an empty volume takes it; others are told
	ImageIgnore = "ignore" // only an empty volume takes it
)

// What goes back when a new binary fails its trial.
const (
	RollbackAuto   = "auto"   // binary and data; in validator mode the binary alone
	RollbackBinary = "binary" // the binary alone
	RollbackNever  = "never"  // nothing
)

// When an archive is made of an upgrade's snapshot.
const (
	ArchiveAfter  = "after"  // in the background, once the upgrade is done
	ArchiveBefore = "before" // before the new binary starts, which it does not without
	ArchiveNever  = "never"
)

// Config is what an Upgrader needs. Zero durations mean what is written beside
// them.
type Config struct {
	Home    Home
	Data    string // the data directory
	Bundled string // the image's node binary; empty: it has none
	Version string // our own, for the journal
	Env     []string

	Reaper    *reaper.Reaper
	Node      *supervisor.Supervisor
	Queue     *Queue
	Snapshots *backup.Snapshotter
	Logger    log.Logger

	PollInterval  time.Duration // 300ms
	ImagePolicy   string        // ImageAdopt
	Rollback      string        // RollbackAuto
	ValidatorMode bool
	SkipBackup    bool          // no snapshot: only the binary can go back
	Floor         backup.Floor  // room that stays the node's
	LeaveAfter    bool          // switch, then end instead of starting the new binary
	RestartDelay  time.Duration // between the stop and the start of an upgrade

	ConfirmTimeout time.Duration // 10m
	ConfirmTime    time.Duration // that the new binary must have run
	ConfirmBlocks  uint64        // that it must have got past the old one's head
	MaxLag         uint64        // behind its peers, that an unconfirmed one may be; 0: any

	CustomPreupgrade     string // relative to wemixvisor/, or absolute
	PreupgradeSubcommand bool
	PreupgradeMaxRetries int
	PreupgradeTimeout    time.Duration // 5m
	HookDelay            time.Duration // before a retry; 1s
	HookGrace            time.Duration // from SIGTERM to SIGKILL; 5s

	AllowDownload    bool
	AllowHTTP        bool // also from other machines
	AllowNoChecksum  bool
	DownloadTimeout  time.Duration // 30m
	SnapshotKeep     time.Duration // after an upgrade is done
	RequireArchive   string        // ArchiveAfter
	HaltStill        time.Duration // at halt: how long the head stands still; 30s
	RetryInterval    time.Duration // of a plan that is not ready, at first; 5s
	VersionTimeout   time.Duration // 10s
	MinStartInterval time.Duration // that a node without RPC is left alone after its start; 1m

	// Facts returns what is known of the node's chain; it must not block.
	Facts func() Facts
	// WaitHeight returns nil when the node has told a head at or above height.
	// May be nil: then Facts is asked at each poll.
	WaitHeight func(ctx context.Context, height uint64) error
	// Gate returns nil when the node may be stopped, and otherwise why not, after
	// it has waited for as long as it may. It is asked before every planned stop of
	// a running node, without a lock held. Nil: at any time.
	Gate func(ctx context.Context) error
	// Forks returns the changes of rules that the running process knows, and whether
	// it has told them yet. May be nil; it must not block.
	Forks func() (forks []Fork, told bool)
	// Archive makes an archive of a snapshot and returns its id. May be nil.
	Archive func(ctx context.Context, s backup.Snapshot) (string, error)

	// OnEvent sees each stage of each plan, OnAlarm what needs an operator, and
	// when it does not any more, OnSwitch how long the node was down. All are
	// called with locks held: they must not block.
	OnEvent  func(Event)
	OnAlarm  func(Alarm)
	OnSwitch func(name string, d Downtime)
	// OnRefused sees each plan that is not taken, and why.
	OnRefused func(p Plan, why string)
	// OnDownload sees how far a download has come.
	OnDownload func(Download)
}

// Facts is what the upgrader needs to know of the chain. What is known of an
// earlier process of the node stays until the present one tells otherwise.
type Facts struct {
	Started     time.Time // of the process that the rest is about
	FirstAnswer time.Time // of that process; zero: its RPC never answered
	LastAnswer  time.Time

	Height    uint64
	Hash      string
	Time      time.Time // the head's own timestamp
	Seen      time.Time // when the head was first seen
	Known     bool      // there is a head at all
	HeadKnown bool      // the present process told it
	Highest   uint64    // that the node or its peers speak of; 0: unknown

	Client  string
	ChainID uint64
	Genesis string
}

// Event is a plan that entered a stage.
type Event struct {
	Name   string    `json:"name"`
	Height uint64    `json:"height"`
	Stage  Stage     `json:"stage"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// Alarm is a condition that needs an operator. Each key fires once and is over
// once.
type Alarm struct {
	Key      string `json:"key"` // what, and where it concerns a plan, /NAME
	Text     string `json:"text"`
	Critical bool   `json:"critical"`
	Over     bool   `json:"over"`
}

func (cfg Config) withDefaults() Config {
	def := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	def(&cfg.PollInterval, 300*time.Millisecond)
	def(&cfg.ConfirmTimeout, 10*time.Minute)
	def(&cfg.PreupgradeTimeout, 5*time.Minute)
	def(&cfg.HookDelay, time.Second)
	def(&cfg.HookGrace, 5*time.Second)
	def(&cfg.HaltStill, 30*time.Second)
	def(&cfg.RetryInterval, 5*time.Second)
	def(&cfg.VersionTimeout, versionTime)
	def(&cfg.MinStartInterval, time.Minute)
	if cfg.ImagePolicy == "" {
		cfg.ImagePolicy = ImageAdopt
	}
	if cfg.Rollback == "" {
		cfg.Rollback = RollbackAuto
	}
	if cfg.RequireArchive == "" {
		cfg.RequireArchive = ArchiveAfter
	}
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	if cfg.Facts == nil {
		cfg.Facts = func() Facts { return Facts{} }
	}
	return cfg
}
