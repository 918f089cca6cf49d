"""The fields an organisation has from its first day, and those that the first plan adds.

Lengths and types are those of field metadata samples in Zoho's documentation.
"""

from __future__ import annotations

from dataclasses import replace

from sinks.simulator.fields import ANY_MODULE, DataType, Field, Module

T = DataType


def _text(name: str, label: str, length: int = 255, *, mandatory: bool = False) -> Field:
    return Field(api_name=name, label=label, type=T.TEXT, length=length, mandatory=mandatory)


def _typed(name: str, label: str, kind: DataType, length: int = 255) -> Field:
    return Field(api_name=name, label=label, type=kind, length=length)


def _picklist(name: str, label: str, *options: str) -> Field:
    return Field(api_name=name, label=label, type=T.PICKLIST, length=120, options=options)


def _lookup(name: str, label: str, module: str, *, mandatory: bool = False) -> Field:
    return Field(api_name=name, label=label, type=T.LOOKUP, length=120, lookup=module, mandatory=mandatory)


def _kept(name: str, label: str, kind: DataType, length: int = 120) -> Field:
    """A field that Zoho keeps itself."""
    return Field(api_name=name, label=label, type=kind, length=length, read_only=True)


def _large(name: str, label: str, length: int = 32000) -> Field:
    return Field(api_name=name, label=label, type=T.TEXTAREA, length=length, textarea="large")


def _system() -> list[Field]:
    """Fields that every module has."""
    return [
        _typed("Owner", "Owner", T.OWNER, 120),
        _kept("Created_By", "Created By", T.OWNER),
        _kept("Modified_By", "Modified By", T.OWNER),
        _kept("Created_Time", "Created Time", T.DATETIME),
        _kept("Modified_Time", "Modified Time", T.DATETIME),
    ]


def _person() -> list[Field]:
    return [
        _text("First_Name", "First Name", 40),
        _text("Last_Name", "Last Name", 80, mandatory=True),
        _kept("Full_Name", "Full Name", T.TEXT, 80),
        _typed("Email", "Email", T.EMAIL, 100),
        _typed("Phone", "Phone", T.PHONE, 50),
        _typed("Mobile", "Mobile", T.PHONE, 30),
        _picklist("Lead_Source", "Lead Source", "Advertisement", "Cold Call", "External Referral", "Web Research"),
        _large("Description", "Description"),
        _typed("Email_Opt_Out", "Email Opt Out", T.BOOLEAN, 5),
        _kept("Last_Activity_Time", "Last Activity Time", T.DATETIME),
    ]


def _contacts() -> list[Field]:
    return [
        *_person(),
        _lookup("Account_Name", "Account Name", "Accounts"),
        _typed("Secondary_Email", "Secondary Email", T.EMAIL, 100),
        _text("Title", "Title", 100),
        _text("Department", "Department", 50),
        _typed("Date_of_Birth", "Date of Birth", T.DATE, 20),
        _typed("Home_Phone", "Home Phone", T.PHONE, 30),
        _text("Mailing_Street", "Mailing Street", 250),
        _text("Mailing_City", "Mailing City", 100),
        _text("Mailing_State", "Mailing State", 100),
        _text("Mailing_Zip", "Mailing Zip", 30),
        _text("Mailing_Country", "Mailing Country", 100),
    ]


def _activity() -> list[Field]:
    return [
        _text("Subject", "Subject", 255, mandatory=True),
        _lookup("Who_Id", "Contact Name", "Contacts"),
        _lookup("What_Id", "Related To", ANY_MODULE),
        _large("Description", "Description"),
    ]


def _tasks() -> list[Field]:
    return [
        *_activity(),
        _typed("Due_Date", "Due Date", T.DATE, 20),
        _picklist("Status", "Status", "Not Started", "Deferred", "In Progress", "Completed", "Waiting for input"),
        _picklist("Priority", "Priority", "High", "Highest", "Low", "Lowest", "Normal"),
        _typed("Send_Notification_Email", "Send Notification Email", T.BOOLEAN, 5),
        _kept("Closed_Time", "Closed Time", T.DATETIME),
    ]


def _calls() -> list[Field]:
    return [
        *_activity(),
        replace(_picklist("Call_Type", "Call Type", "Outbound", "Inbound", "Missed"), mandatory=True),
        replace(_typed("Call_Start_Time", "Call Start Time", T.DATETIME), mandatory=True),
        _text("Call_Duration", "Call Duration", 10),
    ]


def _events() -> list[Field]:
    return [
        _text("Event_Title", "Title", 255, mandatory=True),
        replace(_typed("Start_DateTime", "From", T.DATETIME), mandatory=True),
        replace(_typed("End_DateTime", "To", T.DATETIME), mandatory=True),
        *_activity()[1:],
    ]


def _notes() -> list[Field]:
    return [
        _text("Note_Title", "Note Title", 120),
        replace(_large("Note_Content", "Note Content", 65535)),
        _lookup("Parent_Id", "Parent ID", ANY_MODULE, mandatory=True),
    ]


def standard_modules() -> list[Module]:
    """The modules, each with its standard fields. Ids are given when an organisation takes them."""
    modules = [
        Module(api_name="Leads", singular="Lead", plural="Leads", duplicate_field="Email"),
        Module(api_name="Contacts", singular="Contact", plural="Contacts", duplicate_field="Email"),
        Module(api_name="Accounts", singular="Account", plural="Accounts", duplicate_field="Account_Name"),
        Module(api_name="Tasks", singular="Task", plural="Tasks"),
        Module(api_name="Events", singular="Meeting", plural="Meetings"),
        Module(api_name="Calls", singular="Call", plural="Calls"),
        Module(api_name="Notes", singular="Note", plural="Notes", custom_fields=False, bulk=False),
    ]
    fields = {
        "Leads": [*_person(), replace(_text("Company", "Company", 200), mandatory=True)],
        "Contacts": _contacts(),
        "Accounts": [
            _text("Account_Name", "Account Name", 200, mandatory=True),
            _typed("Website", "Website", T.WEBSITE, 450),
            _typed("Phone", "Phone", T.PHONE, 30),
            _large("Description", "Description"),
        ],
        "Tasks": _tasks(),
        "Events": _events(),
        "Calls": _calls(),
        "Notes": _notes(),
    }
    for module in modules:
        module.fields = {one.api_name: one for one in [*fields[module.api_name], *_system()]}
    return modules


def _integer(label: str) -> Field:
    return _custom(label, T.INTEGER, 9)


def _custom(label: str, kind: DataType, length: int = 255, *options: str, unique: bool = False) -> Field:
    name = label.replace(" ", "_")
    return Field(api_name=name, label=label, type=kind, length=length, options=options, unique=unique, custom=True)


FIRST_PLAN: dict[str, tuple[Field, ...]] = {
    "Contacts": (
        _custom("External ID", T.TEXT, 36, unique=True),
        _custom("Display Name", T.TEXT, 100),
        _custom("User Type", T.PICKLIST, 120, "Student", "Parent", "Advisor", "Admin", "Observer"),
        _custom("Signup Date", T.DATE, 20),
        _integer("Total XP"),
        _custom("Level", T.TEXT, 50),
        _integer("Active Quests"),
        _integer("Completed Quests"),
        _integer("Tasks Completed"),
        _integer("Badges Earned"),
        _integer("Current Streak"),
        _integer("XP STEM"),
        _integer("XP Wellness"),
        _integer("XP Communication"),
        _integer("XP Civics"),
        _integer("XP Art"),
        _custom("Portfolio URL", T.WEBSITE, 450),
        _custom("Parent Linked", T.BOOLEAN, 5),
        _custom("LMS Platform", T.PICKLIST, 120, "None", "Canvas", "Google Classroom", "Schoology", "Moodle"),
        _custom("Last Active At", T.DATETIME, 120),
    ),
    "Tasks": (
        _custom("Event ID", T.TEXT, 100, unique=True),
        _custom("Event Type", T.PICKLIST, 120, "Quest Completion"),
        _integer("XP Earned"),
    ),
}
"""Custom fields of the first plan, under the names Zoho makes of their labels."""
