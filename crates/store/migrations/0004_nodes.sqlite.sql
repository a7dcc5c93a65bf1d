-- Mailboxes of nodes: what is asked of one, until when an answer counts, and the answer, which a repeat gets again.

create table node_invokes (
    id          text    not null primary key,
    owner       text    not null,
    node        text    not null,  -- the device
    command     text    not null,
    params      text,              -- JSON text, as the node gets it
    key         text    not null,
    digest      text    not null,  -- of node, command and parameters as the caller sent them
    asked_by    text    not null,
    created_at  integer not null,
    deadline_at integer not null,
    answered_at integer,
    answer      text               -- JSON; null: none yet
) strict, without rowid;

create unique index node_invokes_by_key on node_invokes (owner, key);
create index node_invokes_by_node on node_invokes (owner, node, id);
create index node_invokes_by_age on node_invokes (owner, created_at);
