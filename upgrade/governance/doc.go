// Package governance files the upgrade that a network has voted for.
//
// Nothing on a WEMIX chain names binaries. What comes closest is a ballot of
// go-wemix that has passed and whose memo carries a plan, by convention. The
// [Watcher] reads such ballots, files their plans with [upgrade.Home.File], and
// that is all: the [upgrade.Queue] takes them up like any other, and the
// upgrader's own rules apply. It is off unless it is switched on.
//
// # Sources
//
// [SourceWemix] reads go-wemix's own contracts: the registry (told by
// admin_wemixInfo, or configured) names the BallotStorage, which emits
// BallotCreated(uint256 indexed id, uint256 indexed type, address indexed creator)
// and BallotFinalized(uint256 indexed id, uint256 state), and answers
// getBallotBasic(uint256). Only ballots of type 6 (Execute) carry plans.
//
// [SourceContract] reads any contract that has this much of an interface; the
// event may have another name, with the same parameters:
//
//	event ProposalFinalized(uint256 indexed id, uint256 state);
//	function proposal(uint256 id) view returns (uint256 state, bool finalized, bytes memory memo);
//
// In both, state 3 is accepted, 4 rejected, 5 cancelled.
//
// # The memo
//
// The plan is what upgrade-info.json holds, alone in the memo or behind the
// word wemixvisor: (people read memos too). Name, height and sha256 must be
// there. The sha256 is the binary's, never an archive's: in info.checksums, for
// this machine's platform or any; or, since all who vote must type it, as
// "sha256":"HEX" beside the name, or as "info":"sha256:HEX". A memo of neither
// form is no plan; one that is meant as one and is not good is told once.
//
// # Whom is trusted, and for what
//
// The creator of a ballot may rewrite its memo until it is finalised, even when
// votes were cast. So the memo is read only afterwards, as of a block with enough
// confirmations, and again at the moment of filing, when the ballot's own block
// must still be on the chain. Until then nothing is filed. A re-organisation
// that goes deeper withdraws the plan, if it is still pending, and is an alarm.
//
// A ballot decides when a binary runs, not what it is. It must be staged by the
// operator (upgrades/NAME/bin), or come from the address in the memo, and
// that only with allow-download-binaries. Either way it must have the sha256 that
// was voted for, or the plan is not ready and the node runs on. A plan whose
// height the chain has reached is not filed: it would mean now.
package governance
