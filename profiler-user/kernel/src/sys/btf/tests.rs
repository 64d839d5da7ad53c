//! The reader against blobs built by hand, against damaged ones, and against the running kernel.

use std::{path::Path, process::Command};

use courtside_wire::{Offsets, offsets::ABSENT};

use super::{Btf, BtfError, Field, FieldError, kind, resolve_offsets};

/// Builds BTF one type at a time; ids count from 1.
#[derive(Default)]
struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
    next_id: u32,
}

const FLAG: u32 = 1 << 31;

impl Blob {
    fn new() -> Self {
        Self {
            strings: vec![0],
            next_id: 1,
            ..Self::default()
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn push(&mut self, name: &str, info: u32, size_or_type: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        for word in [name, info, size_or_type].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        self.push(name, kind::INT << 24, size, &[size * 8])
    }

    fn wrap(&mut self, name: &str, kind: u32, target: u32) -> u32 {
        self.push(name, kind << 24, target, &[])
    }

    fn array(&mut self, element: u32, count: u32) -> u32 {
        self.push("", kind::ARRAY << 24, 0, &[element, element, count])
    }

    /// Members are name, type id, raw offset.
    fn composite(
        &mut self,
        name: &str,
        kind_and_flag: u32,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let tail: Vec<u32> = members
            .iter()
            .flat_map(|&(name, id, offset)| [self.name(name), id, offset])
            .collect();
        let kind = (kind_and_flag & !FLAG) << 24;
        self.push(
            name,
            kind | (kind_and_flag & FLAG) | members.len() as u32,
            size,
            &tail,
        )
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0x9f, 0xeb, 1, 0];
        let types = self.types.len() as u32;
        for word in [24, 0, types, types, self.strings.len() as u32] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out
    }

    fn parse(&self) -> Btf {
        Btf::parse(&self.bytes()).unwrap()
    }
}

fn plain(byte_offset: u32, size_bytes: u32) -> Field {
    Field {
        byte_offset,
        bit_in_byte: None,
        size_bytes,
    }
}

/// A blob with every kind in it, and a struct with nesting, anonymous members, chains and bit fields.
fn everything() -> Blob {
    let mut b = Blob::new();
    let u8_ = b.int("u8", 1);
    let u32_ = b.int("u32", 4);
    let ptr = b.wrap("", kind::PTR, 0);
    let alias = b.wrap("pid_t", kind::TYPEDEF, u32_);
    let constant = b.wrap("", kind::CONST, alias);
    let volatile = b.wrap("", kind::VOLATILE, constant);
    let restrict = b.wrap("", kind::RESTRICT, ptr);
    let tagged = b.wrap("rcu", kind::TYPE_TAG, u32_);
    let name = b.array(u8_, 16);
    let rows = b.array(name, 3);
    b.push("e", kind::ENUM << 24 | 1, 4, &[0, 7]);
    b.push("e64", kind::ENUM64 << 24 | 1, 8, &[0, 7, 0]);
    b.wrap("later", kind::FWD, 0);
    b.push("f", kind::FLOAT << 24, 8, &[]);
    let v = b.push("v", kind::VAR << 24, u32_, &[0]);
    b.push(".data..percpu", kind::DATASEC << 24 | 1, 8, &[v, 0, 4]);
    b.push("tag", kind::DECL_TAG << 24, u32_, &[0]);
    let proto = b.push(
        "",
        kind::FUNC_PROTO << 24 | 3,
        0,
        &[0, ptr, 0, u8_, 0, u32_],
    );
    b.wrap("do_it", kind::FUNC, proto);
    let proto_ptr = b.wrap("", kind::PTR, proto);
    b.wrap("btf_trace_switched", kind::TYPEDEF, proto_ptr);
    let sub = b.composite(
        "sub",
        kind::STRUCT,
        8,
        &[("first", u32_, 0), ("second", volatile, 32)],
    );
    let in_union = b.composite("", kind::STRUCT, 4, &[("deep", u8_, 16)]);
    let union = b.composite("", kind::UNION, 4, &[("flat", u32_, 0), ("", in_union, 0)]);
    b.composite(
        "outer",
        kind::STRUCT | FLAG,
        128,
        &[
            ("head", u32_, 0),
            ("", union, 32),
            ("sub", sub, 64),
            ("next", restrict, 128),
            ("comm", name, 192),
            ("rows", rows, 320),
            ("", u32_, 704 | 3 << 24),
            ("bit", u32_, 715 | 1 << 24),
            ("wide", u32_, 717 | 9 << 24),
            ("marked", tagged, 736),
        ],
    );
    b
}

#[test]
fn finds_fields_through_nesting_anonymous_members_and_chains() {
    let btf = everything().parse();
    for (path, expected) in [
        ("outer.head", plain(0, 4)),
        ("outer.flat", plain(4, 4)),
        ("outer.deep", plain(6, 1)),
        ("outer.sub", plain(8, 8)),
        ("outer.sub.second", plain(12, 4)),
        ("outer.next", plain(16, 8)),
        ("outer.comm", plain(24, 16)),
        ("outer.rows", plain(40, 48)),
        ("outer.marked", plain(92, 4)),
        ("sub.second", plain(4, 4)),
    ] {
        assert_eq!(btf.field(path), Ok(expected), "{path}");
    }
}

#[test]
fn a_bit_field_lies_in_the_byte_that_holds_its_first_bit() {
    let btf = everything().parse();
    let bit = btf.field("outer.bit").unwrap();
    assert_eq!((bit.byte_offset, bit.bit_in_byte), (89, Some(3)));
    assert_eq!(bit.size_bytes, 1);
    let wide = btf.field("outer.wide").unwrap();
    assert_eq!((wide.byte_offset, wide.bit_in_byte), (89, Some(5)));
    assert_eq!(wide.size_bytes, 2);
}

#[test]
fn a_bit_field_in_the_older_form_takes_its_width_from_the_integer() {
    let mut b = Blob::new();
    let three_bits = b.push("", kind::INT << 24, 4, &[2 << 16 | 3]);
    b.composite("old", kind::STRUCT, 8, &[("bits", three_bits, 32)]);
    let field = b.parse().field("old.bits").unwrap();
    assert_eq!((field.byte_offset, field.bit_in_byte), (4, Some(2)));
}

#[test]
fn what_is_not_there_is_said() {
    let btf = everything().parse();
    let no = |path: &str| btf.field(path).unwrap_err();
    assert_eq!(no("inner.x"), FieldError::NoStruct("inner".into()));
    assert_eq!(no("outer.x"), FieldError::NoMember("outer.x".into()));
    assert_eq!(
        no("outer.sub.x"),
        FieldError::NoMember("outer.sub.x".into())
    );
    assert_eq!(
        no("outer.next.x"),
        FieldError::NotAStruct("outer.next".into())
    );
    assert_eq!(no("outer"), FieldError::NoMember("outer".into()));
}

#[test]
fn a_name_that_two_structs_have_is_refused() {
    let mut b = everything();
    b.composite("outer", kind::STRUCT, 4, &[]);
    let error = b.parse().field("outer.head").unwrap_err();
    assert_eq!(error, FieldError::Ambiguous("outer".into()));
}

#[test]
fn counts_the_arguments_a_tracepoint_program_gets() {
    let btf = everything().parse();
    assert_eq!(btf.trace_args("switched"), Some(2));
    assert_eq!(btf.trace_args("unheard_of"), None);
    assert!(btf.has_func("do_it"));
    assert!(!btf.has_func("outer"));
}

#[test]
fn offsets_are_checked_for_size_and_take_the_first_alternative_that_exists() {
    let mut b = Blob::new();
    let u32_ = b.int("u32", 4);
    let u64_ = b.int("u64", 8);
    b.composite(
        "task_struct",
        kind::STRUCT | FLAG,
        64,
        &[
            ("pid", u32_, 64),
            ("tgid", u64_, 128),
            ("state", u64_, 192),
            ("in_iowait", u32_, 266 | 1 << 24),
            ("real_start_time", u64_, 320),
        ],
    );
    let (offsets, missing) = resolve_offsets(&b.parse());
    assert_eq!(offsets.task_pid, 8);
    assert_eq!(offsets.task_state, 24);
    assert_eq!(offsets.task_start_boottime, 40);
    assert_eq!(
        (offsets.task_in_iowait, offsets.task_in_iowait_bit),
        (33, 2)
    );
    assert_eq!(offsets.task_tgid, ABSENT);
    let why = |field| {
        let found = missing.iter().find(|missing| missing.field == field);
        found.unwrap().reason.clone()
    };
    assert_eq!(why("task_tgid"), "task_struct.tgid has 8 bytes, expected 4");
    assert_eq!(why("sock_type"), "struct sock is not in the kernel's BTF");
}

#[test]
fn a_field_that_shares_its_byte_has_a_shift_and_a_whole_one_none() {
    // (offset and width of `sk_userlocks`, its byte, its shift)
    for (place, expected) in [(12 | 4 << 24, (1, 4)), (16, (2, 0))] {
        let mut b = Blob::new();
        let u8_ = b.int("u8", 1);
        b.composite(
            "sock",
            kind::STRUCT | FLAG,
            8,
            &[("sk_userlocks", u8_, place)],
        );
        let (offsets, _) = resolve_offsets(&b.parse());
        assert_eq!(
            (offsets.sock_userlocks, offsets.sock_userlocks_shift),
            expected
        );
    }
}

#[test]
fn tells_how_far_variables_of_each_cpu_lie_apart() {
    let mut b = Blob::new();
    let int = b.int("int", 4);
    let hot = b.composite("pcpu_hot", kind::STRUCT, 64, &[("preempt_count", int, 64)]);
    let hot = b.push("pcpu_hot", kind::VAR << 24, hot, &[1]);
    let runqueues = b.push("runqueues", kind::VAR << 24, int, &[1]);
    let elsewhere = b.push("elsewhere", kind::VAR << 24, int, &[1]);
    let section = kind::DATASEC << 24;
    b.push(".data", section | 1, 4, &[elsewhere, 0, 4]);
    b.push(
        ".data..percpu",
        section | 2,
        4096,
        &[hot, 64, 64, runqueues, 1024, 4],
    );
    let btf = b.parse();
    let distance = btf.distance("runqueues", "pcpu_hot.preempt_count");
    assert_eq!(distance.unwrap().cast_signed(), 64 + 8 - 1024);
    let (offsets, _) = resolve_offsets(&btf);
    assert_eq!(offsets.rq_to_preempt_count.cast_signed(), 64 + 8 - 1024);
    for absent in ["elsewhere", "pcpu_hot.unheard_of", "unheard_of"] {
        assert!(btf.distance("runqueues", absent).is_err());
    }
}

#[test]
fn cut_short_at_any_byte_it_errs_or_answers_but_never_panics() {
    let whole = everything().bytes();
    for end in 0..whole.len() {
        assert!(Btf::parse(&whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn with_any_byte_changed_it_errs_or_answers_but_never_panics() {
    let whole = everything().bytes();
    for at in 0..whole.len() {
        for value in [0, 1, 4, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            if let Ok(btf) = Btf::parse(&damaged) {
                for path in ["outer.deep", "outer.sub.second", "outer.rows", "outer.wide"] {
                    let _ = btf.field(path);
                }
                let _ = btf.trace_args("switched");
                let _ = resolve_offsets(&btf);
            }
        }
    }
}

#[test]
fn loops_end() {
    let mut b = Blob::new();
    b.wrap("round", kind::TYPEDEF, 1);
    b.composite(
        "own",
        kind::STRUCT,
        4,
        &[("", 2, 0), ("", 2, 0), ("x", 1, 0)],
    );
    b.array(3, 2);
    b.composite("holder", kind::STRUCT, 4, &[("array", 3, 0)]);
    let btf = b.parse();
    assert!(matches!(btf.field("own.y"), Err(FieldError::Damaged(_))));
    assert!(matches!(
        btf.field("holder.array"),
        Err(FieldError::Damaged(_))
    ));
}

#[test]
fn other_files_are_refused() {
    assert!(matches!(
        Btf::parse(b"\x7fELF............................"),
        Err(BtfError::Magic { .. })
    ));
    let empty = tempfile::tempdir().unwrap();
    let error = Btf::load(empty.path()).err().unwrap().to_string();
    assert!(error.contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
}

/// Bit offsets of the named members of a struct, as bpftool prints them.
fn bpftool_members(dump: &str, owner: &str) -> Vec<(String, u32)> {
    let head = format!("STRUCT '{owner}' ");
    dump.lines()
        .skip_while(|line| !line.contains(&head))
        .skip(1)
        .take_while(|line| line.starts_with('\t'))
        .filter_map(|line| {
            let name = line.split('\'').nth(1)?.to_owned();
            let bits = line.split("bits_offset=").nth(1)?;
            Some((name, bits.split_whitespace().next()?.parse().ok()?))
        })
        .collect()
}

#[test]
fn agrees_with_bpftool_on_the_running_kernel() {
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return; // nothing to compare with
    }
    let btf = Btf::load(Path::new("/")).unwrap();
    let (offsets, missing) = resolve_offsets(&btf);
    assert_ne!(offsets.task_pid, ABSENT);
    assert_ne!(offsets.task_in_iowait_bit, ABSENT);
    assert!(btf.trace_args("sched_switch").unwrap() >= 3);
    assert!(missing.len() < Offsets::TABLE.len() / 2, "{missing:?}");

    let dump = Command::new("bpftool")
        .args(["btf", "dump", "file", "/sys/kernel/btf/vmlinux"])
        .args(["format", "raw"])
        .output();
    let Ok(dump) = dump else {
        return; // no bpftool
    };
    let dump = String::from_utf8_lossy(&dump.stdout);
    for owner in ["task_struct", "sock", "tcp_sock", "request", "unix_sock"] {
        let members = bpftool_members(&dump, owner);
        assert!(members.len() > 3, "bpftool shows no struct {owner}");
        for (name, bits) in members.iter().filter(|(name, _)| name != "(anon)") {
            let field = btf.field(&format!("{owner}.{name}")).unwrap();
            let own = field.byte_offset * 8 + field.bit_in_byte.unwrap_or(0);
            assert_eq!(own, *bits, "{owner}.{name}");
        }
    }
}
