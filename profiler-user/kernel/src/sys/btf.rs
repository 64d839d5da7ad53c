//! The kernel's own description of its types (BTF): where a struct field lies, what a hook hands over.
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux`. Out: field offsets, argument counts, names of functions, distances between
//! variables that every CPU has.
//! Must not know: who uses the offsets. Every read is checked against the length: bad bytes are an error, never a panic.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

pub use offsets::{Missing, resolve_offsets};

mod offsets;

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
/// A pointer's size is not in BTF; every kernel this tool runs on has 64-bit pointers.
const POINTER_BYTES: u32 = 8;
/// Longest chain of typedefs, qualifiers or anonymous members followed, so that a loop in bad bytes ends.
const DEPTH_MAX: u32 = 32;
/// Most members looked at for one field, for the same reason.
const MEMBERS_MAX: u32 = 1 << 20;
/// What an index holds for a name that more than one type has; 0 is the id of `void`.
const AMBIGUOUS: u32 = 0;
const TRACE_PREFIX: &str = "btf_trace_";
/// Where the kernel keeps what each CPU has of its own.
const PER_CPU: &str = ".data..percpu";

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Why BTF could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is not there or cannot be read.
    #[error(
        "cannot read kernel type information {path}: {source}; it needs a kernel built with CONFIG_DEBUG_INFO_BTF=y (see: grep BTF /boot/config-$(uname -r))"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not start like BTF.
    #[error("not little-endian BTF: it starts with {found:#06x}, not {MAGIC:#06x}")]
    Magic {
        /// What it starts with.
        found: u16,
    },
    /// It ends, or a section does, before what it announces.
    #[error("BTF is cut short: {what} at byte {at}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A kind of type that came after this reader.
    #[error("BTF type {id} is of the unknown kind {kind}")]
    UnknownKind {
        /// Type id.
        id: u32,
        /// Its kind.
        kind: u32,
    },
}

/// Why a field has no offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// There is no such struct.
    #[error("struct {0} is not in the kernel's BTF")]
    NoStruct(String),
    /// More than one struct has the name; guessing would read the wrong bytes.
    #[error("more than one struct is named {0} in the kernel's BTF")]
    Ambiguous(String),
    /// The struct has no such member.
    #[error("{0} is not in the kernel's BTF")]
    NoMember(String),
    /// The path goes on below something that is not a struct.
    #[error("{0} is not a struct")]
    NotAStruct(String),
    /// The field has another size than the programs expect.
    #[error("{path} has {found} bytes, expected {expected}")]
    Size {
        /// The field.
        path: String,
        /// Its size on this kernel.
        found: u32,
        /// The size the programs read.
        expected: u32,
    },
    /// There is no such variable of each CPU.
    #[error("no variable {0} of each CPU is in the kernel's BTF")]
    NoVariable(String),
    /// The bit of a field was asked for that is not a bit field.
    #[error("{0} is not a bit field")]
    NotABitField(String),
    /// The types are damaged.
    #[error("the kernel's BTF is damaged at {0}")]
    Damaged(String),
}

/// Where a field lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// First byte of the field; of a bit field, the byte that holds its first bit.
    pub byte_offset: u32,
    /// Of a bit field: its first bit within that byte, 0 to 7.
    pub bit_in_byte: Option<u32>,
    /// Size; of a bit field, the bytes it touches.
    pub size_bytes: u32,
}

/// One type: where its record starts, and the fixed part of it.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    info: u32,
    size_or_type: u32,
}

impl Type {
    fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Struct members carry their bit-field size in the offset.
    fn kind_flag(self) -> bool {
        self.info >> 31 == 1
    }

    /// Where what follows the fixed part starts.
    fn tail(self) -> usize {
        self.at + 12
    }

    fn tail_bytes(self) -> Option<usize> {
        Some(match self.kind() {
            kind::PTR
            | kind::FWD
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::FUNC
            | kind::FLOAT
            | kind::TYPE_TAG => 0,
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::ENUM | kind::FUNC_PROTO => 8 * self.count(),
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * self.count(),
            _ => return None,
        })
    }
}

/// The kernel's types, indexed by name.
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Start of each type's record in `types`; id 1 is at index 0.
    starts: Vec<u32>,
    structs: HashMap<Box<str>, u32>,
    traces: HashMap<Box<str>, u32>,
    /// Id of each function; [`AMBIGUOUS`] where several have one name.
    funcs: HashMap<Box<str>, u32>,
    /// Type of each variable that every CPU has of its own, and where it lies among them.
    per_cpu: HashMap<Box<str>, (u32, u32)>,
}

impl Btf {
    /// Reads `<root>/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// The file is missing, unreadable, or not BTF.
    pub fn load(root: &Path) -> Result<Self, BtfError> {
        let path = root.join("sys/kernel/btf/vmlinux");
        let bytes = fs::read(&path).map_err(|source| BtfError::Io { path, source })?;
        Self::parse(&bytes)
    }

    /// Reads BTF from its bytes.
    ///
    /// # Errors
    /// The bytes are not BTF, or cut short.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let header = |at| u32_at(bytes, at).ok_or(BtfError::Truncated { what: "header", at });
        let magic = (header(0)? & 0xffff) as u16;
        if magic != MAGIC {
            return Err(BtfError::Magic { found: magic });
        }
        let header_bytes = header(4)? as usize;
        if header_bytes < HEADER_BYTES {
            return Err(BtfError::Truncated {
                what: "header",
                at: 4,
            });
        }
        let section = |what, start: u32, len: u32| {
            let start = header_bytes.saturating_add(start as usize);
            bytes
                .get(start..start.saturating_add(len as usize))
                .map(<[u8]>::to_vec)
                .ok_or(BtfError::Truncated { what, at: start })
        };
        let mut btf = Self {
            types: section("type section", header(8)?, header(12)?)?,
            strings: section("string section", header(16)?, header(20)?)?,
            starts: Vec::new(),
            structs: HashMap::new(),
            traces: HashMap::new(),
            funcs: HashMap::new(),
            per_cpu: HashMap::new(),
        };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let id = u32::try_from(self.starts.len() + 1).unwrap_or(u32::MAX);
            let cut = BtfError::Truncated { what: "type", at };
            let Some(ty) = self.read_type(at) else {
                return Err(cut);
            };
            let tail_bytes = ty.tail_bytes().ok_or(BtfError::UnknownKind {
                id,
                kind: ty.kind(),
            })?;
            let end = ty.tail() + tail_bytes;
            let (Ok(start), true) = (u32::try_from(at), end <= self.types.len()) else {
                return Err(cut);
            };
            self.starts.push(start);
            self.index_name(id, ty);
            at = end;
        }
        self.per_cpu = self.variables_per_cpu().collect();
        Ok(())
    }

    /// A section lists its variables by id, which may come before or after it.
    fn variables_per_cpu(&self) -> impl Iterator<Item = (Box<str>, (u32, u32))> {
        let types = (1..=self.starts.len()).filter_map(|id| self.type_of(u32::try_from(id).ok()?));
        let sections = types.filter(|ty| {
            ty.kind() == kind::DATASEC && self.string(ty.name).is_some_and(|name| name == PER_CPU)
        });
        let places = sections
            .flat_map(|section| (0..section.count()).map(move |index| section.tail() + 12 * index));
        places.filter_map(|at| {
            let variable = self.type_of(u32_at(&self.types, at)?)?;
            let offset = u32_at(&self.types, at + 4)?;
            let name = self.string(variable.name)?;
            (variable.kind() == kind::VAR).then(|| (name.into(), (variable.size_or_type, offset)))
        })
    }

    fn index_name(&mut self, id: u32, ty: Type) {
        // The borrow of the name must not outlive the insertion, hence the early copy.
        let name = |btf: &Self| btf.string(ty.name).map(Box::<str>::from);
        match ty.kind() {
            kind::STRUCT | kind::UNION => {
                if let Some(name) = name(self) {
                    self.structs
                        .entry(name)
                        .and_modify(|id| *id = AMBIGUOUS)
                        .or_insert(id);
                }
            }
            kind::TYPEDEF => {
                let hook = self
                    .string(ty.name)
                    .and_then(|name| name.strip_prefix(TRACE_PREFIX))
                    .map(Box::from);
                if let Some(hook) = hook {
                    self.traces.insert(hook, id);
                }
            }
            kind::FUNC => {
                if let Some(name) = name(self) {
                    self.funcs
                        .entry(name)
                        .and_modify(|id| *id = AMBIGUOUS)
                        .or_insert(id);
                }
            }
            _ => {}
        }
    }

    /// Where `struct.member.member` lies. Members of anonymous structs and unions are found by their own name.
    ///
    /// # Errors
    /// The struct or member is not there, or the struct's name is ambiguous.
    pub fn field(&self, path: &str) -> Result<Field, FieldError> {
        let (root, members) = path
            .split_once('.')
            .ok_or_else(|| FieldError::NoMember(path.to_owned()))?;
        match self.structs.get(root) {
            None => Err(FieldError::NoStruct(root.to_owned())),
            Some(&AMBIGUOUS) => Err(FieldError::Ambiguous(root.to_owned())),
            Some(&id) => self.field_in(id, root, members),
        }
    }

    /// How far one variable of each CPU lies behind another; negative numbers as two's complement. The first may be a
    /// field of one, `variable.member`.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn distance(&self, from: &str, to: &str) -> Result<u32, FieldError> {
        let variable = |name: &str| {
            let found = self.per_cpu.get(name).copied();
            found.ok_or_else(|| FieldError::NoVariable(name.to_owned()))
        };
        let (_, start) = variable(from)?;
        let end = match to.split_once('.') {
            None => variable(to)?.1,
            Some((name, members)) => {
                let (id, at) = variable(name)?;
                at.wrapping_add(self.field_in(id, name, members)?.byte_offset)
            }
        };
        Ok(end.wrapping_sub(start))
    }

    /// Where a member lies in the struct `id`, which is called `root`.
    fn field_in(&self, mut id: u32, root: &str, members: &str) -> Result<Field, FieldError> {
        let path = || format!("{root}.{members}");
        let mut reached = root.to_owned();
        let mut bits = 0u32;
        let mut found = None;
        for name in members.split('.') {
            let damaged = || FieldError::Damaged(format!("{reached}.{name}"));
            let owner = self.resolve(id).ok_or_else(damaged)?;
            if !matches!(owner.kind(), kind::STRUCT | kind::UNION) {
                return Err(FieldError::NotAStruct(reached));
            }
            let mut budget = MEMBERS_MAX;
            let member = self
                .member(owner, name, DEPTH_MAX, &mut budget)
                .map_err(|Bad| damaged())?
                .ok_or_else(|| FieldError::NoMember(format!("{reached}.{name}")))?;
            bits = bits.checked_add(member.bit_offset).ok_or_else(damaged)?;
            id = member.type_id;
            found = Some(member);
            reached = format!("{reached}.{name}");
        }
        let damaged = || FieldError::Damaged(path());
        let width_bits = found.and_then(|member| member.width_bits);
        Ok(match width_bits {
            Some(width) => Field {
                byte_offset: bits / 8,
                bit_in_byte: Some(bits % 8),
                size_bytes: (bits % 8 + width).div_ceil(8),
            },
            None if bits.is_multiple_of(8) => Field {
                byte_offset: bits / 8,
                bit_in_byte: None,
                size_bytes: self.size_bytes(id, DEPTH_MAX).ok_or_else(damaged)?,
            },
            None => return Err(damaged()),
        })
    }

    /// Number of arguments of the tracepoint `name` as a BTF-typed program gets them; `None` if there is no such one.
    #[must_use]
    pub fn trace_args(&self, name: &str) -> Option<usize> {
        let pointer = self.resolve(*self.traces.get(name)?)?;
        if pointer.kind() != kind::PTR {
            return None;
        }
        let proto = self.resolve(pointer.size_or_type)?;
        // The first parameter is the `void *` of the tracepoint's own data, which programs do not see.
        (proto.kind() == kind::FUNC_PROTO)
            .then(|| proto.count().checked_sub(1))
            .flatten()
    }

    /// Whether the kernel has a function of this name (fentry and kprobes can ask for it).
    #[must_use]
    pub fn has_func(&self, name: &str) -> bool {
        self.funcs.contains_key(name)
    }

    /// How many arguments a function takes; none if the kernel has no function of this name, or more than one.
    #[must_use]
    pub fn func_args(&self, name: &str) -> Option<usize> {
        let func = self.type_of(*self.funcs.get(name)?)?;
        let proto = self.resolve(func.size_or_type)?;
        (proto.kind() == kind::FUNC_PROTO).then(|| proto.count())
    }

    fn read_type(&self, at: usize) -> Option<Type> {
        Some(Type {
            at,
            name: u32_at(&self.types, at)?,
            info: u32_at(&self.types, at + 4)?,
            size_or_type: u32_at(&self.types, at + 8)?,
        })
    }

    fn type_of(&self, id: u32) -> Option<Type> {
        let index = (id as usize).checked_sub(1)?;
        self.read_type(*self.starts.get(index)? as usize)
    }

    /// The type behind typedefs, qualifiers and tags.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEPTH_MAX {
            let ty = self.type_of(id)?;
            match ty.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = ty.size_or_type;
                }
                _ => return Some(ty),
            }
        }
        None
    }

    fn size_bytes(&self, id: u32, depth: u32) -> Option<u32> {
        let ty = self.resolve(id)?;
        match ty.kind() {
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(ty.size_or_type)
            }
            kind::PTR => Some(POINTER_BYTES),
            kind::ARRAY => {
                let element = u32_at(&self.types, ty.tail())?;
                let count = u32_at(&self.types, ty.tail() + 8)?;
                self.size_bytes(element, depth.checked_sub(1)?)?
                    .checked_mul(count)
            }
            _ => None,
        }
    }

    /// Looks `name` up in a struct or union and in its anonymous members.
    fn member(
        &self,
        owner: Type,
        name: &str,
        depth: u32,
        budget: &mut u32,
    ) -> Result<Option<Member>, Bad> {
        for index in 0..owner.count() {
            *budget = budget.checked_sub(1).ok_or(Bad)?;
            let at = owner.tail() + 12 * index;
            let word = |n: usize| u32_at(&self.types, at + 4 * n).ok_or(Bad);
            let (name_at, type_id, offset) = (word(0)?, word(1)?, word(2)?);
            let (bit_offset, flagged_bits) = if owner.kind_flag() {
                (offset & 0x00ff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            match self.string(name_at) {
                Some(own) if own == name => {
                    return self.member_of(type_id, bit_offset, flagged_bits).map(Some);
                }
                Some(_) => {}
                None => {
                    let Some(inner) = self.resolve(type_id) else {
                        continue;
                    };
                    if !matches!(inner.kind(), kind::STRUCT | kind::UNION) {
                        continue; // an unnamed bit field: padding
                    }
                    let depth = depth.checked_sub(1).ok_or(Bad)?;
                    if let Some(found) = self.member(inner, name, depth, budget)? {
                        let bit_offset = bit_offset.checked_add(found.bit_offset).ok_or(Bad)?;
                        return Ok(Some(Member {
                            bit_offset,
                            ..found
                        }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A bit field's width is either with the member or, in the older form, with its integer type.
    fn member_of(&self, type_id: u32, bit_offset: u32, flagged_bits: u32) -> Result<Member, Bad> {
        let mut member = Member {
            type_id,
            bit_offset,
            width_bits: (flagged_bits != 0).then_some(flagged_bits),
        };
        if let Some(int) = self.resolve(type_id)
            && int.kind() == kind::INT
            && flagged_bits == 0
        {
            let encoding = u32_at(&self.types, int.tail()).ok_or(Bad)?;
            let (skip, width) = ((encoding >> 16) & 0xff, encoding & 0xff);
            if width < int.size_or_type.saturating_mul(8) {
                member.bit_offset = bit_offset.checked_add(skip).ok_or(Bad)?;
                member.width_bits = Some(width);
            }
        }
        Ok(member)
    }

    /// The string at an offset; `None` for the empty one, and for anything that is no string.
    fn string(&self, at: u32) -> Option<&str> {
        let rest = self.strings.get(at as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(rest.get(..end)?)
            .ok()
            .filter(|name| !name.is_empty())
    }
}

/// The bytes do not make sense.
struct Bad;

#[derive(Clone, Copy)]
struct Member {
    type_id: u32,
    bit_offset: u32,
    width_bits: Option<u32>,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

#[cfg(test)]
mod tests;
