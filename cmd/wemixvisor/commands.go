package main

import "context"

// command is one word behind the flags.
type command struct {
	name   string
	init   bool // keeps the signals: it is an init
	passes bool // whatever follows belongs to the node or program
	do     func(ctx context.Context, s *settings, args []string) error
	uses   []use
}

// use is one way to call a command.
type use struct{ args, about string }

func commands() []command {
	return []command{
		{"run", true, true, run, []use{
			{"[node-args...]", "supervise the node in the foreground: a container's main process"},
		}},
		{"exec", true, true, execute, []use{
			{"[--] PROGRAM [args...]", "run any program with all duties of PID 1, like tini"},
		}},
		{"init", false, false, layOut, []use{
			{"[--import-cosmovisor DIR] [BINARY]", "lay out the home from a node binary; without BINARY, from $DAEMON_NAME in PATH, or with the binaries of a cosmovisor tree"},
		}},
		{"start", false, true, start, []use{
			{"[node-args...]", "start the node; launches a supervisor in the background when none runs"},
		}},
		{"stop", false, false, stop, []use{
			{"[--force]", "stop the node; a supervisor in the foreground stays; --force: past the quorum gate of validator-mode"},
		}},
		{"restart", false, true, restart, []use{
			{"[node-args...]", "restart the node, with new arguments if any are given"},
		}},
		{"status", false, false, status, []use{
			{"[--json]", "tell what the node does and how it is"},
		}},
		{"logs", false, false, logs, []use{
			{"[-f] [-n N]", "print the node's last output"},
		}},
		{"upgrade", false, false, upgrades, []use{
			{"schedule NAME HEIGHT [--binary PATH | --url URL --checksum sha256:HEX] [--time RFC3339] [--at height|halt] [--force] [--json]",
				"write the plan, prepare it, and say whether it is ready; HEIGHT 0 is now, --force: past the height"},
			{"list [--json]", "print every plan, pending ones first"},
			{"status [NAME] [--json]", "tell what becomes of a plan, or of all that are not over"},
			{"check NAME [--json]", "look whether it would succeed: exit 1 on any red"},
			{"cancel NAME [--json]", "drop a plan that has not begun"},
			{"retry NAME [--json]", "take up again one that failed or was rolled back"},
			{"confirm NAME [--json]", "end its trial: the new binary stays"},
		}},
		{"rollback", false, false, rollback, []use{
			{"[--data] [--json]", "go back to the previous binary, with --data also to its snapshot"},
		}},
		{"plan", false, false, plans, []use{
			{"add FILE [--json]", "file a plan of several upgrades: ours, or cosmovisor's JSON or CSV"},
			{"list [--json]", "print what is filed"},
			{"show NAME [--json]", "print one"},
			{"validate FILE [--json]", "say what is wrong with it, or what it says; files nothing"},
			{"remove NAME [--json]", "remove it and cancel what of it is pending"},
		}},
		{"backup", false, false, backUp, []use{
			{"create [--online] [--include-secrets] [--json]", "make an archive and verify it; --online: the node is held still, not stopped"},
			{"list [--json]", "print all, newest first"},
			{"verify [ID | --all] [--json]", "read one back, all of it; without ID the newest"},
			{"restore ID|FOLDER [--force] [--json]", "make its data the node's; --force: though another binary made it"},
			{"restore ID|FOLDER --to DIR [--json]", "unpack it into a folder, and touch nothing else"},
			{"prune [--dry-run] [--json]", "delete what nothing keeps"},
		}},
		{"config", false, false, configure, []use{
			{"show [--origin] [--json]", "print every setting, with where it came from"},
			{"set KEY VALUE", "change a line of the file"},
			{"validate [FILE]", "tell all that is wrong with it: exit 2"},
			{"template mainnet|testnet|devnet|validator|archive|rpc", "print a commented file"},
			{"reload", "read it again, as SIGHUP does, and say what changed"},
		}},
		{"profile", false, false, profile, []use{
			{"cpu|heap|goroutine|trace [--seconds N] [-o FILE]", "profile the running supervisor"},
		}},
		{"probe", false, false, ask, []use{
			{"live|ready|startup", "ask the probe endpoint: exit 0 or 1"},
		}},
		{"alert", false, false, testAlert, []use{
			{"test [URL]", "send a test alert to all channels, or to the one named"},
		}},
		{"governance", false, false, govern, []use{
			{"status [--json]", "tell what the follower of a network's votes sees"},
		}},
		{"doctor", false, false, doctor, []use{
			{"[--json]", "look at user, paths, space, clock, link, custody, RPC, probes: exit 1 on any red"},
		}},
		{"version", false, false, printVersion, []use{
			{"[--json]", "print our version and the node binary's"},
		}},
	}
}
