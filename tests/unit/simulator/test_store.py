"""The store against the plainest model there is, under any sequence of writes."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sinks.simulator import SimulatorConfig
from sinks.simulator.records import match_fields
from sinks.simulator.simulation import Simulation

KEYS = st.sampled_from(["a", "b", "c", None])


class Upserts(RuleBasedStateMachine):
    """Records by their key; those without one are only counted."""

    def __init__(self) -> None:
        super().__init__()
        self.sim = Simulation(SimulatorConfig())
        self.module = self.sim.org.modules["Contacts"]
        self.keyed: dict[str, str] = {}
        self.keyless = 0

    @rule(key=KEYS, name=st.sampled_from(["x", "y"]))
    def upsert(self, key: str | None, name: str) -> None:
        fields = match_fields(self.module, ["External_ID"])
        [item] = self.sim.records.upsert(self.module, [{"Last_Name": name, "External_ID": key}], fields)
        assert item["action"] == ("update" if key in self.keyed else "insert")
        if key is None:
            self.keyless += 1
        else:
            self.keyed[key] = name

    @rule(key=KEYS, name=st.sampled_from(["x", "y"]))
    def insert(self, key: str | None, name: str) -> None:
        [item] = self.sim.records.insert(self.module, [{"Last_Name": name, "External_ID": key}])
        if key in self.keyed:
            assert item["code"] == "DUPLICATE_DATA"
            return
        assert item["code"] == "SUCCESS"
        if key is None:
            self.keyless += 1
        else:
            self.keyed[key] = name

    @rule(old=st.sampled_from("abc"), new=st.sampled_from("abc"))
    def rename(self, old: str, new: str) -> None:
        if old not in self.keyed:
            return
        [item] = self.sim.records.update(self.module, [{"id": self.id_of(old), "External_ID": new}])
        if new in self.keyed and new != old:
            assert item["code"] == "DUPLICATE_DATA"
            return
        assert item["code"] == "SUCCESS"
        self.keyed[new] = self.keyed.pop(old)

    @rule(key=st.sampled_from("abc"))
    def delete(self, key: str) -> None:
        if self.keyed.pop(key, None) is not None:
            [item] = self.sim.records.delete(self.module, [self.id_of(key)])
            assert item["code"] == "SUCCESS"

    def id_of(self, key: str) -> str:
        [found] = self.sim.records.tables["Contacts"].find(self.module.fields["External_ID"], key)
        return found

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        records = self.sim.records.tables["Contacts"].records.values()
        keyed = {one["External_ID"]: one["Last_Name"] for one in records if one.get("External_ID") is not None}
        assert keyed == self.keyed
        assert len(records) == len(keyed) + self.keyless


TestUpserts = Upserts.TestCase
TestUpserts.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
