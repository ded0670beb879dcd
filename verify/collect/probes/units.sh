systemctl list-units --all --state=active,failed --plain --no-legend --no-pager
