//! The recipe with SSH, with a real `sshd` on loopback.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::place::{Place, Running, free_port, listens, program, run, said, until};

/// A server that lets one key in, as the user who runs the test.
fn sshd(program: &Path, keygen: &Path, dir: &Path) -> (Running, u16) {
    let file = |name: &str| dir.join(name).display().to_string();
    for name in ["host", "client"] {
        run(
            keygen,
            &["-q", "-t", "ed25519", "-N", "", "-f", &file(name)],
        );
    }
    std::fs::copy(dir.join("client.pub"), dir.join("authorized")).unwrap();
    let port = free_port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nAllowTcpForwarding local\n",
        file("host"),
        file("authorized")
    );
    std::fs::write(dir.join("sshd_config"), config).unwrap();
    // Where the server is root it wants this folder, and only the service's own start makes it.
    drop(std::fs::create_dir_all("/run/sshd"));
    let child = Command::new(program)
        .args(["-D", "-e", "-f", &file("sshd_config")])
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(dir.join("sshd.log")).unwrap())
        .spawn()
        .unwrap();
    let server = Running(child);
    until("sshd does not start", || listens(port).then_some(()));
    let host = std::fs::read_to_string(dir.join("host.pub")).unwrap();
    std::fs::write(dir.join("known"), format!("[127.0.0.1]:{port} {host}")).unwrap();
    (server, port)
}

#[test]
fn the_gateway_is_reached_through_an_ssh_tunnel_with_its_token_and_not_without() {
    let found = (
        program("sshd", "openssh-server"),
        program("ssh", "openssh-client"),
        program("ssh-keygen", "openssh-client"),
    );
    let (Some(server), Some(client), Some(keygen)) = found else {
        return;
    };
    let keys = tempfile::tempdir().unwrap();
    let (_server, at) = sshd(&server, &keygen, keys.path());
    let home = Place::new("");
    let away = Place::new("");
    let (_gateway, address) = home.gateway();
    let near = free_port();
    let file = |name: &str| keys.path().join(name).display().to_string();
    let user = String::from_utf8(run(Path::new("id"), &["-un"]).stdout).unwrap();
    let tunnel = Command::new(client)
        .args([
            "-F",
            "none",
            "-N",
            "-p",
            &at.to_string(),
            "-i",
            &file("client"),
        ])
        .args(["-o", "IdentitiesOnly=yes", "-o", "ExitOnForwardFailure=yes"])
        .args(["-o", &format!("UserKnownHostsFile={}", file("known"))])
        .args(["-o", "BatchMode=yes"])
        .args(["-L", &format!("{near}:{address}")])
        .arg(format!("{}@127.0.0.1", user.trim()))
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(keys.path().join("ssh.log")).unwrap())
        .spawn()
        .unwrap();
    let _tunnel = Running(tunnel);
    until("the tunnel does not open", || {
        let log = |name: &str| std::fs::read_to_string(keys.path().join(name)).unwrap_or_default();
        assert!(
            !log("ssh.log").contains("denied"),
            "{}{}",
            log("ssh.log"),
            log("sshd.log")
        );
        listens(near).then_some(())
    });
    let url = format!("http://127.0.0.1:{near}");
    let status = away.ask(&url, &home, &["status", "--json"]);
    assert!(status.status.success(), "{}", said(&status));
    // A whole turn, streamed.
    let turn = away.ask(&url, &home, &["run", "say hello", "--json"]);
    assert!(turn.status.success(), "{}", said(&turn));
    // The token of another gateway is no token here.
    let denied = away.ask(&url, &away, &["status"]);
    assert_eq!(denied.status.code(), Some(4), "{}", said(&denied));
}
