// The limits and budgets that apply to the user.
import { href } from "../router";
import { Facts, Problem } from "../ui/basics";
import { Budgets, Limits, useAllowances } from "../ui/allowances";

export default function LimitsPage() {
  const { data, error } = useAllowances();
  return (
    <>
      <h1>Limits and budgets</h1>
      <Problem text={error} />
      {data !== null && (
        <>
          <Facts
            of={[
              ["User", data.user_id],
              ["Tenant", data.tenant_id],
            ]}
          />
          <h2>Limits</h2>
          <Limits limits={data.limits} />
          <h2>Budgets</h2>
          <Budgets budgets={data.budgets} />
          <p class="muted">
            What models have used is on the page <a href={href(["usage"])}>Usage</a>.
          </p>
        </>
      )}
    </>
  );
}
