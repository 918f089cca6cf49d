-- The application's tables as they were in August 2026, for the demo and the tests. Never run on a real database.
-- Names, types, nullability and constraints are the application's own; columns that nothing here needs are left out.

create schema if not exists auth;

create table auth.users (
    id                  uuid primary key,
    email               text,
    email_confirmed_at  timestamptz
);

create table public.organizations (
    id             uuid primary key default gen_random_uuid(),
    name           varchar(255) not null,
    slug           varchar(100) not null unique,
    is_active      boolean default true,
    feature_flags  jsonb not null default '{}',
    created_at     timestamptz default now(),
    updated_at     timestamptz default now()
);

create table public.users (
    id                         uuid primary key references auth.users (id) on delete cascade,
    first_name                 varchar(100),
    last_name                  varchar(100),
    display_name               varchar(100),
    email                      varchar(255),            -- neither required nor unique
    role                       varchar(50) default 'student'
        check (role in ('student', 'parent', 'advisor', 'observer', 'org_managed', 'superadmin')),
    level                      integer default 1,       -- never updated by the application
    streak_days                integer default 0,       -- never updated by the application
    last_active                timestamptz default now(),
    created_at                 timestamptz default now(),
    preferences                jsonb default '{}',
    bio                        text,
    avatar_url                 text,
    portfolio_slug             varchar(100) unique,
    total_xp                   integer default 0,       -- kept up to date since June 2026
    achievements_count         integer default 0,
    date_of_birth              date,
    requires_parental_consent  boolean default false,
    parental_consent_email     varchar,
    parental_consent_verified  boolean default false,
    parental_consent_token     varchar unique,
    deletion_requested_at      timestamptz,
    deletion_status            varchar default 'none' check (deletion_status in ('none', 'pending', 'completed')),
    deletion_scheduled_for     timestamptz,
    marketing_emails_enabled   boolean default true,
    phone_number               text,
    city                       text,
    state                      text,
    welcome_email_sent         boolean default false,
    organization_id            uuid references public.organizations (id),
    org_role                   text,
    org_roles                  jsonb,
    is_org_admin               boolean default false,   -- derived by a trigger
    is_dependent               boolean default false,
    managed_by_parent_id       uuid references public.users (id) on delete cascade,
    last_logout_at             timestamptz,
    username                   varchar(50),
    allergies                  text,                    -- health data
    medications                text,                    -- health data
    phone_verified_at          timestamptz,
    constraint dependent_has_parent check (is_dependent is not true or managed_by_parent_id is not null),
    constraint dependent_has_no_email check (is_dependent is not true or email is null),
    constraint org_managed_is_complete
        check (role <> 'org_managed' or (org_role is not null and organization_id is not null)),
    constraint org_role_needs_org_managed check (role = 'org_managed' or org_role is null)
);
create unique index users_username on public.users (organization_id, lower(username));
create index users_managed_by_parent_id on public.users (managed_by_parent_id);
create index users_email on public.users (email);

create table public.quests (
    id                   uuid primary key default gen_random_uuid(),
    title                text not null,
    description          text,
    quest_type           varchar(100) default 'optio' check (quest_type in ('optio', 'course', 'class')),
    class_review_status  text check (class_review_status in ('submitted_for_review', 'credit_awarded', 'rejected')),
    organization_id      uuid references public.organizations (id),
    is_active            boolean default true,
    lms_platform         varchar(50),
    created_by           uuid,
    created_at           timestamptz default now(),
    updated_at           timestamptz default now()
);

-- One row for each attempt: the same person and quest may occur twice.
create table public.user_quests (
    id                          uuid primary key default gen_random_uuid(),
    user_id                     uuid not null references public.users (id) on delete cascade,
    quest_id                    uuid not null references public.quests (id) on delete cascade,
    started_at                  timestamptz default now(),
    completed_at                timestamptz,
    is_active                   boolean default true,
    created_at                  timestamptz default now(),
    personalization_completed   boolean default false,
    personalization_session_id  uuid,
    status                      text default 'picked_up' check (status in ('available', 'picked_up', 'set_down')),
    times_picked_up             integer default 1,
    last_picked_up_at           timestamptz default now(),
    last_set_down_at            timestamptz,
    reflection_notes            jsonb default '[]',      -- free text by minors
    task_display_mode           text default 'flexible' check (task_display_mode in ('timeline', 'flexible')),
    lti_canvas_score            numeric(7, 2),
    lti_canvas_score_max        numeric(7, 2),
    lti_canvas_grading_progress text,
    lti_canvas_polled_at        timestamptz,
    archived_at                 timestamptz,
    archive_reason              text,
    archive_feedback            text
);
create index user_quests_user_id on public.user_quests (user_id);
create index user_quests_quest_id on public.user_quests (quest_id);

create table public.user_quest_tasks (
    id               uuid primary key default gen_random_uuid(),
    user_id          uuid not null references public.users (id) on delete cascade,
    quest_id         uuid not null references public.quests (id) on delete cascade,
    user_quest_id    uuid not null references public.user_quests (id) on delete cascade,
    title            text not null,
    pillar           text not null,
    xp_value         integer default 100,
    is_required      boolean default false,
    approval_status  text default 'approved' check (approval_status in ('pending', 'approved', 'rejected')),
    created_at       timestamptz default now(),
    updated_at       timestamptz default now()
);
create index user_quest_tasks_user_quest_id on public.user_quest_tasks (user_quest_id);

create table public.quest_task_completions (
    id                  uuid primary key default gen_random_uuid(),
    user_id             uuid not null references auth.users (id) on delete cascade,
    quest_id            uuid not null,
    task_id             uuid not null,
    user_quest_task_id  uuid references public.user_quest_tasks (id) on delete cascade,
    evidence_text       text,                            -- the student's own work
    evidence_url        text,
    completed_at        timestamptz default now(),
    created_at          timestamptz default now(),
    updated_at          timestamptz default now(),
    unique (user_id, task_id)
);
create unique index quest_task_completions_user_task on public.quest_task_completions (user_id, user_quest_task_id)
    where user_quest_task_id is not null;
create index quest_task_completions_user_quest_task_id on public.quest_task_completions (user_quest_task_id);

create table public.user_skill_xp (
    id          uuid primary key default gen_random_uuid(),
    user_id     uuid not null references public.users (id) on delete cascade,
    pillar      text not null,                           -- in one of several vocabularies
    xp_amount   integer not null default 0 check (xp_amount >= 0),
    updated_at  timestamptz default now(),
    unique (user_id, pillar)
);

create table public.parent_student_links (
    id               uuid primary key default gen_random_uuid(),
    parent_user_id   uuid not null references public.users (id) on delete cascade,
    student_user_id  uuid not null references public.users (id) on delete cascade,
    status           varchar(50) default 'approved' check (status in ('pending_approval', 'approved', 'rejected')),
    verified_at      timestamptz,
    created_at       timestamptz default now(),
    updated_at       timestamptz default now(),
    unique (parent_user_id, student_user_id),
    check (parent_user_id <> student_user_id)
);
create index parent_student_links_student on public.parent_student_links (student_user_id);

create table public.lms_integrations (
    id               uuid primary key default gen_random_uuid(),
    user_id          uuid not null references public.users (id) on delete cascade,
    organization_id  uuid not null references public.organizations (id),
    lms_platform     varchar(50) not null
        check (lms_platform in ('canvas', 'google_classroom', 'schoology', 'moodle', 'spark')),
    lms_user_id      varchar(255) not null,
    sync_status      varchar(20) default 'active' check (sync_status in ('active', 'paused', 'error')),
    created_at       timestamptz default now(),
    updated_at       timestamptz default now(),
    unique (lms_platform, lms_user_id)
);
create index lms_integrations_user_id on public.lms_integrations (user_id);

-- Noise: written all day, watched by nobody.

create table public.user_mastery (
    id             uuid primary key default gen_random_uuid(),
    user_id        uuid not null unique references public.users (id) on delete cascade,
    total_xp       integer not null default 0,
    mastery_level  integer not null default 1,
    last_updated   timestamptz default now()
);

create table public.user_activity_events (
    id              uuid primary key default gen_random_uuid(),
    user_id         uuid not null,
    session_id      uuid not null,
    event_type      varchar(100) not null,
    event_category  varchar(50) not null,
    event_data      jsonb default '{}',
    created_at      timestamptz default now()
);

create table public.diplomas (
    id              uuid primary key default gen_random_uuid(),
    user_id         uuid unique references public.users (id) on delete cascade,
    portfolio_slug  text unique,
    is_public       boolean default false,
    created_at      timestamptz default now()
);

-- Triggers, as the application's database has them.

create function public.set_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end $$;
create trigger updated_at before update on public.quests
    for each row execute function public.set_updated_at();
create trigger updated_at before update on public.user_skill_xp
    for each row execute function public.set_updated_at();
create trigger updated_at before update on public.parent_student_links
    for each row execute function public.set_updated_at();
create trigger updated_at before update on public.lms_integrations
    for each row execute function public.set_updated_at();

-- "Under 13 today". It does not age out: nobody asks again until the date of birth is written again.
create function public.check_parental_consent() returns trigger language plpgsql as $$
begin
    new.requires_parental_consent := coalesce(age(new.date_of_birth) < interval '13 years', false);
    return new;
end $$;
create trigger parental_consent before insert or update of date_of_birth on public.users
    for each row execute function public.check_parental_consent();

create function public.derive_org_admin() returns trigger language plpgsql as $$
begin
    new.is_org_admin := coalesce(new.org_role = 'org_admin' or new.org_roles @> '["org_admin"]', false);
    return new;
end $$;
create trigger org_admin before insert or update on public.users
    for each row execute function public.derive_org_admin();

create function public.ensure_diploma() returns trigger language plpgsql as $$
begin
    insert into public.diplomas (user_id, portfolio_slug)
    values (new.id, 'p-' || left(new.id::text, 8) || '-' || right(new.id::text, 4))
    on conflict (user_id) do update set portfolio_slug = excluded.portfolio_slug
        where public.diplomas.portfolio_slug is null;
    return null;
end $$;
create trigger diploma after insert or update of first_name, last_name, display_name on public.users
    for each row execute function public.ensure_diploma();

create function public.delete_auth_user() returns trigger language plpgsql as $$
begin
    delete from auth.users where id = old.id;
    return null;
end $$;
create trigger auth_user after delete on public.users
    for each row execute function public.delete_auth_user();

create function public.update_mastery() returns trigger language plpgsql as $$
begin
    insert into public.user_mastery (user_id, total_xp)
    select new.user_id, coalesce(sum(xp_amount), 0) from public.user_skill_xp where user_id = new.user_id
    on conflict (user_id) do update set total_xp = excluded.total_xp, last_updated = now();
    return null;
end $$;
create trigger mastery after insert or update on public.user_skill_xp
    for each row execute function public.update_mastery();

-- Row-level security is on everywhere. Logical decoding ignores it; a SELECT needs BYPASSRLS.

alter table public.organizations enable row level security;
alter table public.users enable row level security;
alter table public.quests enable row level security;
alter table public.user_quests enable row level security;
alter table public.user_quest_tasks enable row level security;
alter table public.quest_task_completions enable row level security;
alter table public.user_skill_xp enable row level security;
alter table public.user_skill_xp force row level security;
alter table public.parent_student_links enable row level security;
alter table public.lms_integrations enable row level security;
alter table public.user_mastery enable row level security;
alter table public.user_mastery force row level security;
alter table public.user_activity_events enable row level security;
alter table public.diplomas enable row level security;
alter table public.diplomas force row level security;
