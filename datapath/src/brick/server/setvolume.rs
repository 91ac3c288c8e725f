//! SETVOLUME: the checks a client passes before it may send fops, in 10.3's order and words (wire-protocol.md 4.5).
//!
//! Decisions only; the connection and the client's state are `clients`' and `connection`'s business.

use super::auth::{Login, Peer};
use super::config::BrickConfig;
use crate::errno::Errno;
use crate::wire::handshake;
use crate::wire::program;
use crate::wire::{Gfid, OldDict};

/// What the server knows besides its configuration.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The process is ending.
    pub stopping: bool,
    /// The storage is healthy.
    pub child_up: bool,
}

/// A refused SETVOLUME.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The number in the reply.
    pub errno: Errno,
    /// The text under `ERROR`.
    pub text: String,
    /// Whether the reply says `child_up` 0.
    pub child_down: bool,
}

/// A client that may come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// `process-uuid`.
    pub uuid: String,
    /// It gave the trusted volfile's password.
    pub trusted: bool,
    /// `subdir-mount`, without leading and trailing slashes; `None` for the whole volume.
    pub subdir: Option<String>,
    /// `process-name`, empty if not given.
    pub process_name: String,
    /// `client-version`, empty if not given.
    pub version: String,
    /// `opversion`, 0 if not given.
    pub op_version: u32,
    /// It is a client of this implementation ([`handshake::OURS`]) and understands what GlusterFS's do not.
    pub ours: bool,
}

fn refuse(errno: Errno, text: impl Into<String>) -> Refusal {
    Refusal {
        errno,
        text: text.into(),
        child_down: false,
    }
}

/// Decides on a SETVOLUME request.
///
/// # Errors
/// The [`Refusal`] to send; authentication is the last check.
pub fn check(config: &BrickConfig, state: State, peer: Peer, dict: &OldDict) -> Result<Admission, Refusal> {
    let name = dict
        .get_str("remote-subvolume")
        .ok_or_else(|| refuse(Errno::EINVAL, "No remote-subvolume option specified"))?;
    if state.stopping {
        return Err(refuse(
            Errno::ENOENT,
            format!("remote-subvolume \"{name}\" is not found"),
        ));
    }
    if !state.child_up {
        let text = "Not received child_up for this xlator";
        return Err(Refusal {
            child_down: true,
            ..refuse(Errno::EAGAIN, text)
        });
    }
    let uuid = dict
        .get_str("process-uuid")
        .ok_or_else(|| refuse(Errno::EINVAL, "UUID not specified"))?;
    check_volume_id(config, dict)?;
    check_version(dict)?;
    if name != config.name {
        return Err(refuse(Errno::ENOENT, "Brick not found"));
    }
    let login = Login {
        user: dict.get_str("username"),
        password: dict.get_str("password"),
    };
    let accepted = config
        .auth
        .check(peer, login)
        .ok_or_else(|| refuse(Errno::EACCES, "Authentication failed"))?;
    let subdir = dict
        .get_str("subdir-mount")
        .map(|s| s.trim_matches('/'))
        .filter(|s| !s.is_empty());
    Ok(Admission {
        uuid: uuid.to_string(),
        trusted: accepted.trusted,
        subdir: subdir.map(str::to_string),
        process_name: dict.get_str("process-name").unwrap_or_default().to_string(),
        version: dict.get_str("client-version").unwrap_or_default().to_string(),
        op_version: dict.get_u32("opversion").unwrap_or(0),
        ours: dict.get_str(handshake::OURS).is_some(),
    })
}

fn check_volume_id(config: &BrickConfig, dict: &OldDict) -> Result<(), Refusal> {
    let Some(text) = dict.get_str("volume-id").filter(|t| !t.is_empty()) else {
        return Ok(());
    };
    match text.parse::<Gfid>() {
        Ok(id) if id == config.volume_id => Ok(()),
        _ => Err(refuse(
            Errno::EINVAL,
            "Volume-ID different, possible case of same brick re-used in another volume",
        )),
    }
}

/// Clients up to version 10 name the fop program; one that names another is refused. Newer ones need not.
fn check_version(dict: &OldDict) -> Result<(), Refusal> {
    let fops = dict.get_i64("fops-version").unwrap_or(0);
    if fops == i64::from(program::FOP.number) {
        return Ok(());
    }
    let mgmt = dict.get_i64("mgmt-version").unwrap_or(0);
    Err(refuse(
        Errno::EINVAL,
        format!("version mismatch: client({fops}) - client-mgmt({mgmt})"),
    ))
}

/// The reply's dictionary for a client that was let in. One of this implementation hears that the brick is, too.
pub fn success(config: &BrickConfig, ours: bool) -> OldDict {
    let dict = OldDict::new()
        .with_str("transport-ptr", "0")
        .with_str("clnt-lk-version", "0")
        .with_str("process-uuid", &config.process_uuid)
        .with_str("ERROR", "Success")
        .with_str("volume-id", &config.volume_id.to_string())
        .with_str("child_up", "1");
    if ours {
        dict.with_str(handshake::OURS, "1")
    } else {
        dict
    }
}

/// The reply's dictionary for a refused one.
pub fn failure(config: &BrickConfig, refusal: &Refusal) -> OldDict {
    let dict = OldDict::new()
        .with_str("process-uuid", &config.process_uuid)
        .with_str("ERROR", &refusal.text);
    if refusal.child_down {
        dict.with_str("child_up", "0")
    } else {
        dict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: State = State {
        stopping: false,
        child_up: true,
    };

    fn config() -> BrickConfig {
        let mut config = BrickConfig::new("/bricks/b", "vol", Gfid([5; 16]), "server-uuid");
        config.auth.login_allow.insert("user".into());
        config.auth.passwords.insert("user".into(), "secret".into());
        config
    }

    fn request() -> OldDict {
        OldDict::new()
            .with_str("remote-subvolume", "/bricks/b")
            .with_str("process-uuid", "CTX_ID:x-RECON_NO:-0")
            .with_str("fops-version", "1298437")
            .with_str("process-name", "fuse")
            .with_str("opversion", "100000")
    }

    fn ask(dict: &OldDict) -> Result<Admission, Refusal> {
        check(&config(), UP, Peer::Local, dict)
    }

    fn refused(dict: &OldDict) -> (Errno, String) {
        let refusal = ask(dict).unwrap_err();
        (refusal.errno, refusal.text)
    }

    fn without(key: &str) -> OldDict {
        let mut dict = request();
        dict.remove(key);
        dict
    }

    #[test]
    fn a_complete_request_is_admitted() {
        let admission = ask(&request()).unwrap();
        assert_eq!(admission.uuid, "CTX_ID:x-RECON_NO:-0");
        assert_eq!(
            (admission.process_name.as_str(), admission.op_version, admission.trusted),
            ("fuse", 100000, false)
        );
        let trusted = request().with_str("username", "user").with_str("password", "secret");
        assert!(ask(&trusted).unwrap().trusted);
        let sub = request().with_str("subdir-mount", "/a/b/");
        assert_eq!(ask(&sub).unwrap().subdir.as_deref(), Some("a/b"));
        assert_eq!(ask(&request().with_str("subdir-mount", "/")).unwrap().subdir, None);
    }

    #[test]
    fn texts_and_numbers_of_refusals() {
        let einval = |text: &str| (Errno::EINVAL, text.to_string());
        assert_eq!(
            refused(&OldDict::null()),
            einval("No remote-subvolume option specified")
        );
        assert_eq!(
            refused(&without("remote-subvolume")),
            einval("No remote-subvolume option specified")
        );
        assert_eq!(refused(&without("process-uuid")), einval("UUID not specified"));
        assert_eq!(
            refused(&without("fops-version")),
            einval("version mismatch: client(0) - client-mgmt(0)")
        );
        let other = request().with_str("volume-id", &Gfid([6; 16]).to_string());
        let text = "Volume-ID different, possible case of same brick re-used in another volume";
        assert_eq!(refused(&other), einval(text));
        assert!(ask(&request().with_str("volume-id", &Gfid([5; 16]).to_string())).is_ok());
        let other = request().with_str("remote-subvolume", "/bricks/other");
        assert_eq!(refused(&other), (Errno::ENOENT, "Brick not found".into()));
        let wrong = request().with_str("username", "user").with_str("password", "guess");
        assert_eq!(refused(&wrong), (Errno::EACCES, "Authentication failed".into()));
    }

    #[test]
    fn the_order_of_checks_is_fixed() {
        let stopping = State { stopping: true, ..UP };
        let refusal = check(&config(), stopping, Peer::Local, &request()).unwrap_err();
        assert_eq!(refusal.errno, Errno::ENOENT);
        assert_eq!(refusal.text, "remote-subvolume \"/bricks/b\" is not found");
        let down = State { child_up: false, ..UP };
        let refusal = check(&config(), down, Peer::Local, &without("process-uuid")).unwrap_err();
        assert_eq!((refusal.errno, refusal.child_down), (Errno::EAGAIN, true));
        assert_eq!(failure(&config(), &refusal).get_str("child_up"), Some("0"));
    }

    #[test]
    fn the_reply_carries_what_clients_read() {
        let dict = success(&config(), false);
        assert_eq!(dict.get_str("ERROR"), Some("Success"));
        assert_eq!(dict.get_str("child_up"), Some("1"));
        assert_eq!(dict.get_str("volume-id"), Some(Gfid([5; 16]).to_string().as_str()));
        assert_eq!(dict.get_str(handshake::OURS), None, "others get what GlusterFS says");
        assert!(success(&config(), true).get_str(handshake::OURS).is_some());
    }
}
