"""A minimal Debian or Ubuntu in a directory, to install packages into and to see what they leave behind."""

import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

USER = "user"
# What belongs to the package managers: their logs, states and caches.
OTHERS = ("var/log/", "var/lib/dpkg/", "var/lib/apt/", "var/cache/", f"home/{USER}/.npm/", "root/.npm/", "tmp/",
          "var/lib/dnf/", "var/lib/rpm/", "root/.rpmdb/", "root/.cache/")
# Stands for the packages of the system on which others depend, because dnf does not know those of Debian.
SYSTEM = """Name: system
Version: 1
Release: 1
Summary: What the root has from Debian
License: none
BuildArch: noarch
Provides: /bin/sh, glibc, libgcc
%description
%files
"""
# Its `/proc` is mounted for the command alone. The command replaces the shells, so signals reach it.
ENTER = 'mount -t proc proc "$0/proc" && exec chroot --userspec="$1" "$0" "${@:2}"'


def make(root):
    """Makes a root of the release that runs here, with Python's venv and an unprivileged user."""
    assert os.geteuid() == 0, "it needs root"
    assert shutil.which("debootstrap"), "debootstrap is missing: apt-get install debootstrap"
    release = platform.freedesktop_os_release()
    codename = release["VERSION_CODENAME"]
    targets = run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages").splitlines()
    mirrors = [uri for name, uri in map(str.split, targets) if name == codename]
    assert mirrors, f"apt has no lists of {codename}: apt-get update"
    components = "main,universe" if release["ID"] == "ubuntu" else "main"
    options = ["--variant=minbase", "--include=python3-venv", f"--components={components}"]
    run("debootstrap", *options, codename, root, mirrors[0])
    run("chroot", root, "useradd", "--create-home", USER)


def add_node(root):
    """Copies this machine's Node.js and npm, because Debian's npm is three hundred packages."""
    program = pathlib.Path(shutil.which("node")).resolve()
    modules = pathlib.Path(shutil.which("npm")).resolve().parents[1]
    shutil.copy(program, root / "usr/local/bin/node")
    shutil.copytree(modules, root / "usr/local/lib/node_modules/npm", symlinks=True)
    for name in ("npm", "npx"):
        (root / "usr/local/bin" / name).symlink_to(f"../lib/node_modules/npm/bin/{name}-cli.js")
    run(*inside(root, USER), "node", "--version", env=environment(USER))


def add_dnf(root):
    """Installs dnf, with no repository."""
    assert shutil.which("rpmbuild"), "rpmbuild is missing: apt-get install rpm"
    user = inside(root, "root")
    settings = environment("root", DEBIAN_FRONTEND="noninteractive")
    run(*user, "apt-get", "update", "-qq", env=settings)
    run(*user, "apt-get", "install", "-qq", "-y", "--no-install-recommends", "dnf", env=settings)
    with tempfile.TemporaryDirectory() as work:
        spec = pathlib.Path(work, "system.spec")
        spec.write_text(SYSTEM)
        run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {work}", "--define", f"_rpmdir {root}/packages", spec)
    # Python compiles dnf itself when it first runs.
    run(*user, "dnf", "install", "--assumeyes", "/packages/noarch/system-1-1.noarch.rpm", env=settings)


def inside(root, user):
    """Returns the beginning of a command line that runs a program in the root."""
    return ["unshare", "--mount", "bash", "-c", ENTER, str(root), user]


def environment(user, **more):
    home = "/root" if user == "root" else f"/home/{user}"
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "LC_ALL": "C.UTF-8"} | more


def snapshot(root):
    """Returns the files and directories of the root with what would change if they were written."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, root)
            if not f"{relative}/".startswith(OTHERS):
                # The time of a directory changes with its entries.
                content = () if name in names else (status.st_size, status.st_mtime_ns)
                found[relative] = (status.st_mode, status.st_uid, *content)
    return found


def left_behind(before, root):
    """Returns what is different from a snapshot."""
    after = snapshot(root)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def run(*command, env=None):
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, env=env, timeout=900)
    assert result.returncode == 0, f"{words}: {result.stdout[-4000:]}{result.stderr}"
    return result.stdout
