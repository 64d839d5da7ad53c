//! Names of protocols that Courtside does not place.
//!
//! In: the kernel's numbers. Out: names, as people write them. Pure. Must not know: aya.

use courtside_wire::ProtocolKey;

const AF_INET: u16 = 2;

/// Families other than the internet's.
const FAMILIES: &[(u16, &str)] = &[
    (3, "ax25"),
    (4, "ipx"),
    (5, "appletalk"),
    (6, "netrom"),
    (8, "atm-pvc"),
    (9, "x25"),
    (11, "rose"),
    (20, "atm-svc"),
    (21, "rds"),
    (23, "irda"),
    (24, "pppox"),
    (26, "llc"),
    (27, "infiniband"),
    (29, "can"),
    (30, "tipc"),
    (31, "bluetooth"),
    (32, "iucv"),
    (33, "rxrpc"),
    (35, "phonet"),
    (36, "ieee802154"),
    (37, "caif"),
    (39, "nfc"),
    (40, "vsock"),
    (41, "kcm"),
    (42, "qipcrtr"),
    (43, "smc"),
    (45, "mctp"),
];

/// Protocols of the internet's.
const INTERNET: &[(u16, &str)] = &[
    (2, "igmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (46, "rsvp"),
    (47, "gre"),
    (88, "eigrp"),
    (89, "ospf"),
    (103, "pim"),
    (112, "vrrp"),
    (115, "l2tp"),
    (132, "sctp"),
    (143, "ethernet"),
    (256, "smc"),
];

/// What a protocol is called; its number where it is not known.
pub(super) fn name(key: ProtocolKey) -> String {
    let (table, number, kind) = if key.family != AF_INET {
        (FAMILIES, key.family, "family")
    } else if key.protocol & ProtocolKey::RAW != 0 {
        let name = |number| INTERNET.iter().find(|(known, _)| *known == number);
        let number = key.protocol & !ProtocolKey::RAW;
        return match name(number) {
            Some((_, name)) => format!("raw-{name}"),
            None => format!("raw-{number}"),
        };
    } else {
        (INTERNET, key.protocol, "protocol")
    };
    match table.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("{kind}-{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_go_by_their_names_and_by_number_without_one() {
        let raw = ProtocolKey::RAW;
        let numbers = [
            (2, 132),
            (2, 99),
            (40, 0),
            (99, 0),
            (2, 89 | raw),
            (2, 99 | raw),
        ];
        let named = numbers.map(|(family, protocol)| name(ProtocolKey { family, protocol }));
        assert_eq!(
            named,
            [
                "sctp",
                "protocol-99",
                "vsock",
                "family-99",
                "raw-ospf",
                "raw-99"
            ]
        );
    }
}
