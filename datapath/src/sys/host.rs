//! Facts of this machine: its name and its addresses.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The machine's host name.
pub fn hostname() -> io::Result<String> {
    let mut name = [0u8; 256];
    // SAFETY: gethostname writes at most the length given into the buffer.
    if unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned())
}

/// The addresses of all interfaces that are up, loopback included.
pub fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs stores a list that is freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: `entry` is an element of the list, which lives until freeifaddrs.
        let interface = unsafe { &*entry };
        if interface.ifa_flags & libc::IFF_UP as libc::c_uint != 0 && !interface.ifa_addr.is_null() {
            // SAFETY: ifa_addr points to a socket address whose family tells its size.
            found.extend(unsafe { address(interface.ifa_addr) });
        }
        entry = interface.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs and nothing of it is used any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// The name that the system's name service (hosts file, DNS) has for an address; None if it has none. Blocks.
pub fn name_of_address(address: IpAddr) -> Option<String> {
    let mut name = [0u8; 1025];
    let mut ask = |address: *const libc::sockaddr, len: usize| {
        // SAFETY: `address` points to a socket address of `len` bytes, and at most the length given is written to the
        // buffer, with its end marked.
        let result = unsafe {
            libc::getnameinfo(
                address,
                libc::socklen_t::try_from(len).unwrap_or(0),
                name.as_mut_ptr().cast(),
                libc::socklen_t::try_from(name.len()).unwrap_or(0),
                std::ptr::null_mut(),
                0,
                libc::NI_NAMEREQD,
            )
        };
        result == 0
    };
    let found = match address {
        IpAddr::V4(v4) => {
            // SAFETY: all-zero bytes are a valid socket address.
            let mut socket: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            socket.sin_family = libc::AF_INET as libc::sa_family_t;
            socket.sin_addr.s_addr = u32::from(v4).to_be();
            ask((&raw const socket).cast(), size_of_val(&socket))
        }
        IpAddr::V6(v6) => {
            // SAFETY: all-zero bytes are a valid socket address.
            let mut socket: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            socket.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            socket.sin6_addr.s6_addr = v6.octets();
            ask((&raw const socket).cast(), size_of_val(&socket))
        }
    };
    let end = name.iter().position(|b| *b == 0)?;
    let name = String::from_utf8_lossy(name.get(..end)?).into_owned();
    (found && !name.is_empty()).then_some(name)
}

/// # Safety
/// `address` must point to a valid socket address of the length its family has.
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise; unaligned reads are allowed for.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let v4 = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr))))
            }
            libc::AF_INET6 => {
                let v6 = address.cast::<libc::sockaddr_in6>().read_unaligned();
                Some(IpAddr::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_among_the_addresses() {
        assert!(
            interface_addresses()
                .unwrap()
                .contains(&IpAddr::V4(Ipv4Addr::LOCALHOST))
        );
    }

    #[test]
    fn addresses_have_names() {
        assert!(name_of_address(IpAddr::V4(Ipv4Addr::LOCALHOST)).is_some());
        // Reserved for documentation: nobody's.
        assert_eq!(name_of_address("192.0.2.1".parse().unwrap()), None);
    }

    #[test]
    fn the_host_name_is_the_kernels() {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(hostname().unwrap(), kernel.trim_end());
    }
}
