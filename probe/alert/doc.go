// Package alert tells people what they must look at.
//
// A [Rule] is a question asked every second of what actors already know: it
// answers why the alert should fire, or nothing. The [Board] asks them all. An
// answer that has lasted for the rule's time fires once; when it has been gone
// for a while it resolves once. Whatever happens rather than lasts is an [Event],
// which a rule remembers for some time. So a new rule is a function and a line.
//
// The [Notifier] carries both to the channels that URLs name (Slack, Discord,
// Telegram, Teams, mail, ntfy, PagerDuty, webhooks and others, by the library
// shoutrrr). Nothing of it is waited for: queues are bounded, a channel that is
// dead, slow or says 429 holds up itself alone, and what could not be told is
// counted. A URL is a secret: log and errors show its scheme and host at most.
package alert
