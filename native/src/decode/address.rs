//! The hex of a struct sockaddr -> a row of `address`. See auditsvc/decode/reference/records.py.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::ids::Value;
use super::text::to_text;

fn text(shown: impl Into<String>) -> Value {
    Value::from(&*shown.into())
}

/// Gives the columns family, address, port, path and saddr.
pub fn parse_address(saddr: &[u8], little: bool) -> Vec<Value> {
    let shown = Value::from(&*to_text(saddr).0);
    let mut row = unhex(saddr).and_then(|data| read(&data, little)).unwrap_or_default();
    row.resize(4, Value::Null);
    row.push(shown);
    row
}

fn unhex(saddr: &[u8]) -> Option<Vec<u8>> {
    if saddr.len() < 4 || saddr.len() & 1 != 0 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    saddr.chunks_exact(2).map(|pair| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}

/// None if the data is too short for its family.
fn read(data: &[u8], little: bool) -> Option<Vec<Value>> {
    let word = |start: usize| -> u32 {
        let bytes = [data[start], data[start + 1], data[start + 2], data[start + 3]];
        if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    };
    let port = || Value::Int(i64::from(u16::from_be_bytes([data[2], data[3]])));
    let number = |start| Value::Int(i64::from(word(start)));
    let size = data.len();
    let start = [data[0], data[1]];
    let family = if little { u16::from_le_bytes(start) } else { u16::from_be_bytes(start) };
    Some(match family {
        1 => vec![text("unix"), Value::Null, Value::Null, unix_path(&data[2..])],
        2 if size >= 8 => {
            let address = Ipv4Addr::new(data[4], data[5], data[6], data[7]);
            vec![text("inet"), text(address.to_string()), port()]
        }
        10 if size >= 24 => {
            let packed: [u8; 16] = data[8..24].try_into().expect("sixteen bytes");
            let mut address = Ipv6Addr::from(packed).to_string();
            if size >= 28 && word(24) != 0 {
                address += &format!("%{}", word(24));
            }
            vec![text("inet6"), text(address), port()]
        }
        16 if size >= 12 => vec![text("netlink"), text(word(8).to_string()), number(4)],
        17 if size >= 12 && size >= 12 + usize::from(data[11]) => {
            let bytes = &data[12..12 + usize::from(data[11])];
            let hardware = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>();
            let shown = if bytes.is_empty() { Value::Null } else { text(hardware.join(":")) };
            vec![text("packet"), shown, number(4)]
        }
        40 if size >= 12 => vec![text("vsock"), text(word(8).to_string()), number(4)],
        2 | 10 | 16 | 17 | 40 => return None,
        _ => vec![text(family.to_string())],
    })
}

fn unix_path(name: &[u8]) -> Value {
    match name {
        [] => Value::Null,
        [0, name @ ..] => {
            let length = name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            if length == 0 { Value::Null } else { text(format!("@{}", to_text(&name[..length]).0)) }
        }
        _ => {
            let length = memchr::memchr(0, name).unwrap_or(name.len());
            text(to_text(&name[..length]).0)
        }
    }
}
