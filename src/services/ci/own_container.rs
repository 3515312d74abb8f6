//! The ID of the container that cdflow runs in.

use std::fs;

use crate::base::process_env::ProcessEnv;

/// Files that an engine mounts into every container from a folder named by the container's ID, even
/// with the host's network and name.
const MOUNTED: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
/// Length of an ID in hex digits; the first twelve are the default host name.
const ID: usize = 64;
const SHORT_ID: usize = 12;

/// Returns None outside of a container, or if the ID is unknown.
pub(crate) fn own_id(environment: &ProcessEnv) -> Option<String> {
    let [mounts, groups] =
        ["/proc/self/mountinfo", "/proc/self/cgroup"].map(|file| fs::read_to_string(file).ok());
    by_mounts(mounts.as_deref().unwrap_or_default())
        .or_else(|| by_groups(groups.as_deref().unwrap_or_default()))
        .or_else(|| environment.get("HOSTNAME").filter(|name| is_hex(name, SHORT_ID)))
        .map(str::to_owned)
}

/// The fourth field is the mounted path, the fifth is where.
fn by_mounts(mountinfo: &str) -> Option<&str> {
    let fields = mountinfo.lines().map(|line| line.split(' ').skip(3));
    let mut mounted = fields.filter_map(|mut fields| Some((fields.next()?, fields.next()?)));
    mounted.find_map(|(path, place)| MOUNTED.contains(&place).then(|| id_in(path)).flatten())
}

/// `…:/docker/<ID>`, or with systemd `…/docker-<ID>.scope`.
fn by_groups(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(id_in)
}

fn id_in(text: &str) -> Option<&str> {
    text.split(['/', '-', '.']).find(|part| is_hex(part, ID))
}

/// Returns whether the text has the form of a container ID.
pub(crate) fn is_id(text: &str) -> bool {
    is_hex(text, ID) || is_hex(text, SHORT_ID)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: &str = "3f5ae2b1c0d94e7f8a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f";

    #[test]
    fn by_what_is_mounted() {
        let of_docker = format!(
            "633 632 0:49 / /proc rw,nosuid - proc proc rw\n\
             640 629 254:1 /var/lib/docker/containers/{MINE}/hostname /etc/hostname rw,relatime - \
             ext4 /dev/vda1 rw\n"
        );
        assert_eq!(by_mounts(&of_docker), Some(MINE));
        let of_podman = format!(
            "1 2 0:1 /overlay-containers/{MINE}/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw\n"
        );
        assert_eq!(by_mounts(&of_podman), Some(MINE));
        // A volume whose folder only looks like an ID.
        assert_eq!(
            by_mounts(&format!("1 2 0:1 /data/{MINE} /data rw - ext4 /dev/vda1 rw\n")),
            None
        );
        assert_eq!(by_mounts(""), None);
    }

    #[test]
    fn by_its_control_group() {
        assert_eq!(by_groups(&format!("12:cpu:/docker/{MINE}\n0::/\n")), Some(MINE));
        assert_eq!(by_groups(&format!("0::/system.slice/docker-{MINE}.scope\n")), Some(MINE));
        assert_eq!(by_groups("0::/user.slice/user-0.slice\n"), None);
    }

    #[test]
    fn what_may_be_an_id() {
        assert_eq!([MINE, "3f5ae2b1c0d9"].map(is_id), [true, true]);
        assert_eq!(
            ["", "3F5AE2B1C0D9", "../../info", "3f5ae2b1c0d", "build-host-7"].map(is_id),
            [false; 5]
        );
    }
}
