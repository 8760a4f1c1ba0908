package alert

import (
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/googlechat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/mattermost"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/rocketchat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/teams"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/email/smtp"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/opsgenie"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/pagerduty"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/gotify"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ntfy"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushover"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/specialized/generic"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// services are those of the library's that were seen to say so when they fail:
// see their test. Those left out would cost memory in exec mode too, and one of
// them, logger, sends nothing to anybody.
var services = map[string]func() types.Service{
	"discord":    func() types.Service { return new(discord.Service) },
	"generic":    func() types.Service { return new(generic.Service) },
	"googlechat": func() types.Service { return new(googlechat.Service) },
	"gotify":     func() types.Service { return new(gotify.Service) },
	"mattermost": func() types.Service { return new(mattermost.Service) },
	"ntfy":       func() types.Service { return new(ntfy.Service) },
	"opsgenie":   func() types.Service { return new(opsgenie.Service) },
	"pagerduty":  func() types.Service { return new(pagerduty.Service) },
	"pushover":   func() types.Service { return new(pushover.Service) },
	"rocketchat": func() types.Service { return new(rocketchat.Service) },
	"slack":      func() types.Service { return new(slack.Service) },
	"smtp":       func() types.Service { return new(smtp.Service) },
	"teams":      func() types.Service { return new(teams.Service) },
	"telegram":   func() types.Service { return new(telegram.Service) },
}
