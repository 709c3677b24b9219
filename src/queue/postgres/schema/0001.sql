-- What the queue needs from its first day on. `@` stands for the schema.
-- Times are Unix milliseconds by the daemons' clocks, but for the lease, which goes by the
-- database's.

-- Whose queue it is, made once; and the version of the list of tables, which every writer reads
-- behind the lock that a change of the list takes.
CREATE TABLE @.identity (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    account text NOT NULL,
    is_test boolean NOT NULL,
    id_key bytea NOT NULL CHECK (octet_length(id_key) = 16),
    made_at bigint NOT NULL,
    list bigint NOT NULL DEFAULT 1,
    adoptions bigint NOT NULL DEFAULT 0
);

-- Blocks of 1,024 numbers of the line.
CREATE SEQUENCE @.numbers INCREMENT 1024 START 1024 MINVALUE 1024;
CREATE SEQUENCE @.letter_numbers;

-- One row for each life of a daemon. The last group and the totals are written when the tables that
-- held them go, and at a stop in order.
CREATE TABLE @.writers (
    writer int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    host text NOT NULL,
    version text NOT NULL,
    began timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended timestamptz,
    last_group bigint NOT NULL DEFAULT 0,
    totals bytea
);

-- The list of tables: generations of the line with their journal, and remembered ids. The last of
-- each kind takes what is new.
CREATE TABLE @.pieces (
    kind text NOT NULL CHECK (kind IN ('line', 'ids')),
    number int NOT NULL,
    began_at bigint NOT NULL,
    sealed_at bigint,
    filter bytea,
    PRIMARY KEY (kind, number)
);
ALTER TABLE @.pieces ALTER COLUMN filter SET STORAGE EXTERNAL;

-- The right to deliver.
CREATE TABLE @.lease (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    token uuid,
    turns bigint NOT NULL DEFAULT 0,
    holder text,
    since timestamptz,
    ends timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO @.lease DEFAULT VALUES;

-- Dead letters, and those that are queued again (reason null).
CREATE TABLE @.letters (
    number bigint PRIMARY KEY,
    id uuid NOT NULL,
    reason smallint,
    failures int NOT NULL,
    accepted_at bigint NOT NULL,
    event_time bigint NOT NULL,
    died_at bigint NOT NULL,
    message text NOT NULL,
    body_hash bigint NOT NULL,
    length int NOT NULL,
    body bytea NOT NULL,
    sent_as text,
    sent_at bigint
);
ALTER TABLE @.letters ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX letters_id ON @.letters (id);
CREATE INDEX letters_queued ON @.letters (number) WHERE reason IS NULL;

-- Letters that were given up, and may be imported.
CREATE TABLE @.purged (
    id uuid PRIMARY KEY,
    number bigint NOT NULL,
    at bigint NOT NULL
);

CREATE TABLE @.losses (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    loss text NOT NULL
);

-- Stored pieces that could not be read, as they were.
CREATE TABLE @.quarantine (
    number bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at bigint NOT NULL,
    what text NOT NULL,
    bytes bytea NOT NULL
);

CREATE TABLE @.pause (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    record text NOT NULL
);
