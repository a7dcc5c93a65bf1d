#!/bin/sh
# Brings a Swift compiler for the tests of the models: Debian 13's, unpacked into .toolchain/ (2.5 GB) and started there
# by bubblewrap, so that nothing of this machine changes. Needs apt and bubblewrap. Where `swiftc` is installed, this is
# not needed.
set -eu
cd "$(dirname "$0")"
here=$(pwd)/.toolchain
if [ -x "$here/run" ]; then exit 0; fi
mkdir -p "$here/apt/state/lists/partial" "$here/apt/cache/archives/partial" "$here/root"
mirror=$(sed -n 's/^URIs: *//p; s/^deb  *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\).*/\2/p' \
  /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v security | head -n 1)
echo "deb $mirror trixie main" > "$here/apt/sources.list"
apt() {
  apt-get -qq -o Dir::State="$here/apt/state" -o Dir::Cache="$here/apt/cache" -o Dir::Etc::sourcelist="$here/apt/sources.list" \
    -o Dir::Etc::sourceparts=/dev/null -o Dir::State::status=/dev/null "$@"
}
apt update
apt install --download-only --no-install-recommends -y swiftlang libc6-dev libstdc++-14-dev
for package in "$here"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$here/root"; done
rm -rf "$here/apt"
for folder in bin lib lib64 sbin; do
  if [ ! -e "$here/root/$folder" ]; then ln -s "usr/$folder" "$here/root/$folder"; fi
done
mkdir -p "$here/root/proc" "$here/root/dev" "$here/root/tmp" "$here/root/work"
cat > "$here/run.new" <<RUN
#!/bin/sh
exec bwrap --ro-bind '$here/root' / --proc /proc --dev /dev --tmpfs /tmp --bind "\$PWD" /work --chdir /work \\
  --setenv PATH /usr/bin --setenv HOME /work "\$@"
RUN
chmod +x "$here/run.new"
mv "$here/run.new" "$here/run"
