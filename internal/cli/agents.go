package cli

import (
	"context"
	"time"

	"github.com/caxton/caxton/api"
	"github.com/spf13/cobra"
)

func newAgents(env *Env) *cobra.Command {
	return group("agents", "Deploy, watch, and look after agents", newAgentsList(env), newAgentsShow(env), newAgentsDeploy(env), newAgentsValidate(env), newAgentsValidateAll(env), newAgentsReload(env),
		newAgentsReloadStatus(env), newAgentsWatch(env), newAgentsStatus(env), newAgentsPing(env), newAgentsCapabilities(env),
		newAgentsTest(env), newAgentsLogs(env), newAgentsDebug(env), newAgentsDiagnose(env),
		newAgentsChange(env, "suspend", "Have agents take no more messages; they wait"),
		newAgentsChange(env, "resume", "Have suspended agents take messages again"),
		newAgentsChange(env, "restart", "Make the handlers of agents anew"),
		newAgentsAudit(env), newAgentsPerformance(env), newAgentsAnalyze(env), newAgentsRollback(env), newAgentsRollout(env), newAgentsRollouts(env), newAgentsPromote(env), newAgentsAbort(env), newAgentsVersions(env),
		newAgentsDiff(env), newAgentsRemove(env), newAgentsSchema(env))
}

// agentNames completes the names of the agents there are.
func agentNames(env *Env) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		l, err := env.Client().Agents(ctx, api.AgentFilter{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := make([]string, 0, len(l.Items))
		for _, a := range l.Items {
			names = append(names, a.Slug)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// ofAgent returns a command whose one argument is an agent.
func ofAgent(env *Env, use, short string, run func(cmd *cobra.Command, ref string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " AGENT", Short: short, Args: exactly("AGENT"), ValidArgsFunction: agentNames(env),
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd, args[0]) },
	}
}
