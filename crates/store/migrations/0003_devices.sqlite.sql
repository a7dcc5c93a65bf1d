-- Devices, what was decided about them, and what they ask for. Token texts and code texts are never here, only digests.

create table devices (
    owner         text    not null,
    id            text    not null,  -- hex SHA-256 of the key
    public_key    text    not null,
    display_name  text,
    platform      text    not null,
    device_family text,
    client_id     text    not null,
    client_mode   text    not null,
    roles         text    not null,
    scopes        text    not null,
    claims        text    not null,
    remote_ip     text,
    approved_by   text    not null,
    approved_via  text    not null check (approved_via in ('silent', 'operator', 'setup_code')),
    created_at    integer not null,
    approved_at   integer not null,
    last_seen_at  integer,
    primary key (owner, id)
) strict, without rowid;

create table device_tokens (
    owner        text    not null,
    device       text    not null,
    role         text    not null check (role in ('operator', 'node')),
    via          text    not null check (via in ('silent', 'operator', 'setup_code')),
    scopes       text    not null,
    salt         text    not null,
    digest       text    not null,
    created_at   integer not null,
    rotated_at   integer,
    revoked_at   integer,
    last_used_at integer,
    primary key (owner, device, role),
    foreign key (owner, device) references devices (owner, id) on delete cascade
) strict, without rowid;

-- Requests are kept until they lapse, answered or not: they count against the bounds of their source until then.
create table pairings (
    id         text    not null primary key,
    owner      text    not null,
    device     text    not null,
    source     text    not null,
    reason     text    not null,
    state      text    not null check (state in ('open', 'approved', 'rejected', 'superseded', 'spent')),
    tries      integer not null default 0,
    ask        text    not null,
    created_at integer not null,
    expires_at integer not null
) strict, without rowid;

create index pairings_by_owner on pairings (owner, expires_at);

create table setup_codes (
    owner      text    not null,
    digest     text    not null,
    roles      text    not null,
    scopes     text    not null,
    made_by    text    not null,
    expires_at integer not null,
    primary key (owner, digest)
) strict, without rowid;
