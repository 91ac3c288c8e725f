//! What a daemon tells the service manager that started it (`Type=notify` of systemd.service(5)): that it serves, that
//! it reads its configuration again, that it ends.
//!
//! The protocol of sd_notify(3) is a datagram of `NAME=VALUE` lines to the Unix socket named in `NOTIFY_SOCKET`. Nobody
//! listens when the daemon was started by hand; a manager that has gone away must not stop it either, so a message that
//! cannot be sent is a log line and no error. Nothing else of systemd may enter here.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use datapath::sys::clock;

/// Names the socket; the processes a daemon starts must not inherit it.
pub const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    target: Option<(UnixDatagram, SocketAddr)>,
}

impl ServiceManager {
    /// The manager that started this process; one that hears nothing if none did.
    pub fn from_environment() -> ServiceManager {
        let Some(name) = std::env::var_os(SOCKET_VARIABLE).filter(|name| !name.is_empty()) else {
            return ServiceManager::default();
        };
        ServiceManager::at(&name).unwrap_or_else(|error| {
            tracing::warn!(
                "{SOCKET_VARIABLE}={}: {error}: the service manager is not told",
                name.display()
            );
            ServiceManager::default()
        })
    }

    /// The manager that listens at a path, or at an abstract name written with `@` in front.
    ///
    /// # Errors
    /// The name is neither, or too long for a socket's address; out of descriptors.
    pub fn at(name: &OsStr) -> io::Result<ServiceManager> {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that reads nothing must not hold the daemon up.
        socket.set_nonblocking(true)?;
        Ok(ServiceManager {
            target: Some((socket, address)),
        })
    }

    /// The daemon serves (for the first time, or again after [`ServiceManager::reloading`]).
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=Serving\n");
    }

    /// The daemon reads its configuration again. The moment lets the manager tell this reload from an earlier one.
    pub fn reloading(&self) {
        let now_us = clock::monotonic_ns() / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}\nSTATUS=Reloading\n"));
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Ending; bricks and clients go on\n");
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.target
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::warn!(
                "the service manager cannot be told {}: {error}",
                message.lines().next().unwrap_or_default()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn lines_of_a_life(manager: &ServiceManager, socket: &UnixDatagram) {
        manager.ready();
        assert!(next(socket).lines().any(|line| line == "READY=1"));
        let before = clock::monotonic_ns() / 1000;
        manager.reloading();
        let text = next(socket);
        assert!(text.starts_with("RELOADING=1\n"), "{text}");
        let moment = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(moment.unwrap().parse::<u64>().unwrap() >= before);
        manager.stopping();
        assert!(next(socket).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn a_path() {
        let path = std::env::temp_dir().join(format!("ringluster-notify-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        lines_of_a_life(&ServiceManager::at(path.as_os_str()).unwrap(), &socket);
        drop(socket);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_abstract_name() {
        let name = format!("ringluster-notify-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        lines_of_a_life(&ServiceManager::at(OsStr::new(&format!("@{name}"))).unwrap(), &socket);
    }

    #[test]
    fn nobody_listens() {
        ServiceManager::default().ready();
        ServiceManager::at(OsStr::new("/nonexistent/notify")).unwrap().ready();
        for name in ["relative", "vsock:2:1"] {
            let error = ServiceManager::at(OsStr::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        assert!(ServiceManager::at(OsStr::new(&format!("/{}", "x".repeat(200)))).is_err());
    }

    /// A manager that has stopped reading fills its queue; the daemon goes on.
    #[test]
    fn a_full_queue_does_not_block() {
        let name = format!("ringluster-notify-full-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _never_read = UnixDatagram::bind_addr(&address).unwrap();
        let manager = ServiceManager::at(OsStr::new(&format!("@{name}"))).unwrap();
        for _ in 0..10_000 {
            manager.ready();
        }
    }
}
