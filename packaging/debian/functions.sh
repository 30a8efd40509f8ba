# Services that ran before an upgrade, each a file with the unit's name.
stopped=/run/ratecat-upgrade

has_systemd() {
  [ -d /run/systemd/system ]
}

reload_units() {
  if has_systemd; then systemctl --system daemon-reload >/dev/null || true; fi
}

# The program loads parts of itself while it works: it must not meet files of another version.
stop_for_upgrade() {
  if has_systemd && systemctl --quiet is-active "$1"; then
    mkdir -p "$stopped"
    : >"$stopped/$1"
    deb-systemd-invoke stop "$1" || true
  fi
}

start_after_upgrade() {
  if [ ! -e "$stopped/$1" ]; then return; fi
  rm -f "$stopped/$1"
  rmdir --ignore-fail-on-non-empty "$stopped"
  if has_systemd && ! deb-systemd-invoke start "$1"; then
    echo "$1 does not start; 'journalctl -u $1' says why. If the tables are older than the program:" >&2
    echo "  systemctl start ratecat-dbsync && systemctl start $1" >&2
  fi
}

# As at the first installation, or as the administrator left it.
enable_unit() {
  deb-systemd-helper unmask "$1" >/dev/null || true
  if deb-systemd-helper --quiet was-enabled "$1"; then
    deb-systemd-helper enable "$1" >/dev/null || true
  else
    deb-systemd-helper update-state "$1" >/dev/null || true
  fi
}

forget_unit() {
  deb-systemd-helper purge "$1" >/dev/null || true
  deb-systemd-helper unmask "$1" >/dev/null || true
}
