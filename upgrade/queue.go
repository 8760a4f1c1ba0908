package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

const (
	planLimit = 1 << 20 // bytes of one file
	fileLimit = 1000    // files of one folder
)

// Filing is a plan that lies on the volume, in one file or several that say the
// same.
type Filing struct {
	Plan
	Digest string
	Files  []string // relative to home or absolute; never empty
	Batch  string   // of a batch plan: its name
}

// Problem is a file that should hold a plan and does not.
type Problem struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

// QueueConfig says where plans lie.
type QueueConfig struct {
	Home     Home
	Data     string        // the data directory
	Interval time.Duration // between two looks; 300ms
	Logger   log.Logger

	OnProblem func(Problem) // once for each state of a file; must not block
}

// Queue reads the plans on the volume, and is the only one who does. Our own
// files lie in queue/ and plans/ below wemixvisor; upgrade-info.json in the data
// directory, and the ones in its upgrades/HEIGHT/, are what people and scripts
// wrote: they are never edited.
type Queue struct {
	cfg     QueueConfig
	changed chan struct{} // holds one

	mu    sync.Mutex // over one look: the first start asks before Run does
	known map[string]*read
	taken string // what the upgrader has seen
}

// read is what was found in one file the last time it changed.
type read struct {
	id       fileID
	at       time.Time
	filings  []Filing
	problem  string
	reported string
	seen     bool // in the present look
}

// NewQueue returns a Queue. Don't forget to Run it.
func NewQueue(cfg QueueConfig) *Queue {
	if cfg.Interval <= 0 {
		cfg.Interval = 300 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = log.NewNopLogger()
	}
	return &Queue{cfg: cfg, changed: make(chan struct{}, 1), known: map[string]*read{}}
}

// Run looks at the volume until ctx is done.
func (q *Queue) Run(ctx context.Context) error {
	tick := time.NewTicker(q.cfg.Interval)
	defer tick.Stop()
	for {
		filings, _ := q.Look()
		q.mu.Lock()
		news := fingerprint(filings) != q.taken
		q.mu.Unlock()
		if news {
			select {
			case q.changed <- struct{}{}:
			default: // they have not looked at the last one yet
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Changed receives when there is something new to look at.
func (q *Queue) Changed() <-chan struct{} { return q.changed }

func fingerprint(filings []Filing) string {
	var b strings.Builder
	for _, f := range filings {
		b.WriteString(f.Digest + " " + f.Filed.Format(time.RFC3339Nano) + " " + strings.Join(f.Files, " ") + "\n")
	}
	return b.String()
}

// take is Look for the one who acts on it: until then, what is new is told again.
func (q *Queue) take() []Filing {
	filings, _ := q.Look()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken = fingerprint(filings)
	return filings
}

// Look returns the plans that lie on the volume now, equal ones as one, and
// what is there and is none.
func (q *Queue) Look() ([]Filing, []Problem) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.known {
		r.seen = false
	}
	now := time.Now()
	var all []Filing
	look := func(file string, decode func([]byte) ([]Filing, []string, error)) {
		if r := q.read(file, now, decode); r != nil {
			all = append(all, r.filings...)
		}
	}
	dir := q.cfg.Home.Dir()
	for _, name := range q.list(filepath.Join(dir, "queue"), ".json") {
		look(filepath.Join(dir, "queue", name), func(data []byte) ([]Filing, []string, error) {
			f, unknown, err := decodeFiling(data)
			if err == nil && f[0].Name+".json" != name {
				err = fmt.Errorf("%w: it names %s, so it must be called %s.json", ErrPlan, f[0].Name, f[0].Name)
			}
			return f, unknown, err
		})
	}
	for _, name := range q.list(filepath.Join(dir, "plans"), ".json") {
		look(filepath.Join(dir, "plans", name), decodeFilings)
	}
	look(filepath.Join(q.cfg.Data, "upgrade-info.json"), decodeFiling)
	for _, name := range q.list(filepath.Join(q.cfg.Data, "upgrades"), "") {
		if height, err := strconv.ParseUint(name, 10, 63); err == nil {
			look(filepath.Join(q.cfg.Data, "upgrades", name, "upgrade-info.json"), func(data []byte) ([]Filing, []string, error) {
				return decodeFilingAt(data, height)
			})
		}
	}
	var problems []Problem
	for file, r := range q.known {
		if !r.seen {
			delete(q.known, file)
		} else if r.problem != "" {
			problems = append(problems, Problem{q.relative(file), r.problem})
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.File, b.File) })
	return merge(all), problems
}

// merge makes one of filings that say the same; the order stays.
func merge(all []Filing) []Filing {
	var merged []Filing
	for _, f := range all {
		same := slices.IndexFunc(merged, func(m Filing) bool { return m.Digest == f.Digest })
		if same < 0 {
			merged = append(merged, f)
			continue
		}
		m := &merged[same]
		m.Files = append(slices.Clone(m.Files), f.Files...) // the original is kept for the next look
		if f.Filed.After(m.Filed) {
			m.Filed, m.By = f.Filed, f.By
		}
	}
	return merged
}

// list returns the names in a folder that end in ext; of a folder that is not
// there, none.
func (q *Queue) list(dir, ext string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(fileLimit + 1)
	if len(names) > fileLimit {
		r := q.file(dir)
		q.problem(dir, r, fmt.Sprintf("more than %d files; the rest is not looked at", fileLimit))
		names = names[:fileLimit]
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ext)
	})
	slices.Sort(names)
	return names
}

func (q *Queue) file(file string) *read {
	r := q.known[file]
	if r == nil {
		r = &read{}
		q.known[file] = r
	}
	r.seen = true
	return r
}

// read reads a file that has changed since it was read last. Nil means that
// there is none.
func (q *Queue) read(file string, now time.Time, decode func([]byte) ([]Filing, []string, error)) *read {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	r := q.file(file)
	if err != nil { // a disk that hiccups withdraws no plan
		q.problem(file, r, reason(err))
		return r
	}
	if id := idOf(info); r.id == id && r.id.settled(r.at) {
		return r
	}
	again := r.id == idOf(info)
	data, id, err := readSmall(file, planLimit)
	r.id, r.at = id, now
	var filings []Filing
	var unknown []string
	if err == nil {
		filings, unknown, err = decode(data)
	}
	if err != nil {
		// Somebody may be in the middle of writing it. What it said before stands
		// until it says something else.
		if again || r.id.settled(now) {
			q.problem(file, r, reason(err))
		}
		return r
	}
	for i := range filings {
		filings[i].Digest, filings[i].Files = filings[i].Plan.Digest(), []string{q.relative(file)}
	}
	r.filings, r.problem = filings, ""
	if len(unknown) > 0 && r.reported != unknown[0] {
		r.reported = unknown[0]
		level.Warn(q.cfg.Logger).Log("msg", "plan file has fields that mean nothing here; taken without them", "file", q.relative(file), "fields", strings.Join(unknown, ","))
	}
	return r
}

// problem reports once what is wrong with a file.
func (q *Queue) problem(file string, r *read, why string) {
	r.problem = why
	if r.reported == why {
		return
	}
	r.reported = why
	level.Warn(q.cfg.Logger).Log("msg", "plan file not accepted; the node runs on", "file", q.relative(file), "err", why)
	if q.cfg.OnProblem != nil {
		q.cfg.OnProblem(Problem{q.relative(file), why})
	}
}

// reason is what went wrong with a file whose name is said beside it.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

func (q *Queue) relative(file string) string {
	if rel, ok := strings.CutPrefix(file, q.cfg.Home.Root+"/"); ok {
		return rel
	}
	return file
}

func decodeFiling(data []byte) ([]Filing, []string, error) {
	p, unknown, err := DecodePlan(data)
	return []Filing{{Plan: p}}, unknown, err
}

// decodeFilingAt reads a plan whose folder names its height.
func decodeFilingAt(data []byte, height uint64) ([]Filing, []string, error) {
	p, unknown, err := DecodePlan(data)
	if err == nil && p.Height != 0 && p.Height != height {
		err = fmt.Errorf("%w: height %d in the folder of height %d", ErrPlan, p.Height, height)
	}
	p.Height = height
	return []Filing{{Plan: p}}, unknown, err
}

func decodeFilings(data []byte) ([]Filing, []string, error) {
	b, unknown, err := DecodeBatch(data)
	if err == nil {
		err = ValidName(b.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	var filings []Filing
	for _, p := range b.Upgrades {
		filings = append(filings, Filing{Plan: p, Batch: b.Name})
	}
	return filings, unknown, nil
}
