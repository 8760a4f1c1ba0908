package backup

// Consistency says in which state of the node its bytes were taken.
const (
	Stopped = "stopped" // it had ended: what is on disk is all there is
	Frozen  = "frozen"  // it ran: opens, but without its newest blocks
)

// Origin is what is recorded of the node that bytes came from.
type Origin struct {
	Binary        string `json:"binary,omitempty"` // sha256 of the node binary, hex
	Version       string `json:"version,omitempty"`
	Upgrade       string `json:"upgrade,omitempty"` // genesis, or the name of an upgrade
	ChainID       uint64 `json:"chain_id,omitempty"`
	Genesis       string `json:"genesis,omitempty"` // block hash
	Height        uint64 `json:"height"`
	Hash          string `json:"hash,omitempty"`
	CleanShutdown bool   `json:"clean_shutdown"`
	Consistency   string `json:"consistency"` // [Stopped] or [Frozen]
}

// Progress is how far a long work has come, in bytes.
type Progress struct{ Done, Total int64 }
