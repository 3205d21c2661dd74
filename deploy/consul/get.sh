#!/bin/sh
# Usage: get.sh DIR
#
# Finds a Consul agent for the tests and prints the path of its binary: the one in DIR
# from an earlier run, else the one on PATH, else Debian's own package, taken from the
# mirror that apt uses on this machine and unpacked into DIR/consul.
#
# The package is of the last Debian that had one (11, Consul 1.8), whatever Debian runs
# here. It is not installed: apt works on folders of its own that are removed at the
# end, so nothing of the system changes and no rights are needed.
set -eu

release=bullseye
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
	echo "get.sh: $1" >&2
	echo "get.sh: without this, put a consul binary (1.8 or later) on PATH yourself" >&2
	exit 1
}

# The first Debian mirror that apt knows: deb822 files (URIs:), then one-line files
# (deb [options] URI suite …). Security archives do not carry whole releases.
find_mirror() {
	{
		cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '$1 == "URIs:" { for (i = 2; i <= NF; i++) print $i }'
		cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk '
			$1 == "deb" {
				sub(/\[[^]]*\]/, "")
				print $2
			}'
	} | grep -E '^https?://' | grep -v security | grep -m 1 debian
}

if [ $# -ne 1 ] || [ -z "$1" ]; then
	echo "usage: get.sh DIR" >&2
	exit 2
fi

mkdir -p "$1" || die "cannot make the folder $1"
dir=$(cd "$1" && pwd)
if [ -x "$dir/consul" ] && "$dir/consul" version >/dev/null 2>&1; then
	echo "$dir/consul"
	exit 0
fi
if command -v consul >/dev/null 2>&1; then
	command -v consul
	exit 0
fi

for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null 2>&1 || die "there is no $tool here: only Debian's package is known"
done
[ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"
mirror=$(find_mirror) || die "apt is configured for no Debian mirror over HTTP"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/unpacked"
echo "deb [signed-by=$keyring check-valid-until=no] $mirror $release main" >"$work/sources.list"

# apt of its own: own sources, lists and cache, the machine's settings otherwise. As
# root it would fetch as a user who may not look into our folder.
own_apt() {
	apt-get -qq \
		-o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$work/state/lists" -o Dir::Cache="$work/cache" \
		-o APT::Sandbox::User=root -o Acquire::Languages=none "$@" >&2
}

own_apt update || die "apt cannot read $release from its mirror"
(cd "$work" && own_apt download consul) || die "the mirror of apt has no package consul in $release for this machine"
dpkg-deb -x "$work"/consul_*.deb "$work/unpacked" || die "the package cannot be unpacked"
"$work/unpacked/usr/bin/consul" version >/dev/null || die "the packaged consul does not run on this machine"

# Renamed into place, so that nobody ever runs half of it.
cp "$work/unpacked/usr/bin/consul" "$dir/.consul.$$"
mv "$dir/.consul.$$" "$dir/consul"
echo "$dir/consul"
